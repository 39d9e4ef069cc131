"""A corpus: one table of many studies, a phylogeny of all its ASVs, and what is known of samples.

Shapes: N samples, F features, L nucleotides.
"""

from dataclasses import dataclass
from pathlib import Path

import biom
import numpy as np
import pandas as pd

from q2_aam.core.data.sample_table import SampleTable, sample_table
from q2_aam.core.phylogeny.branches import BranchTable

TABLE, TREE, METADATA = "table.biom", "tree.nwk", "metadata.tsv"
COLUMNS = ("study", "environment", "holdout")
BALANCE = 0.5
"""Power of the number of samples by which environments, and studies of one, are drawn.

With 1 all samples would be equally likely, with 0 all environments. Gut has 66 % of the samples
to train on, and 42 % of the draws.
"""


@dataclass(frozen=True, eq=False)
class Corpus:
    """What an encoder is trained on, and what it is validated with.

    Parameters
    ----------
    table : SampleTable
        All samples of the studies that are not held out; sequences cut to L nucleotides.
    metadata : pandas.DataFrame
        Study and environment of each of them, in the same order.
    branches : BranchTable
        Phylogeny of the features.
    validating : ndarray of shape (N,), bool
        Samples that choose the best epoch, and are not trained on.
    """

    table: SampleTable
    metadata: pd.DataFrame
    branches: BranchTable
    validating: np.ndarray

    def part(self, *, validating: bool) -> "Part":
        """Return the samples to draw from in training or in validation."""
        return Part.of(self.metadata, np.flatnonzero(self.validating == validating))


@dataclass(frozen=True)
class Part:
    """Samples to draw from, by their study.

    Parameters
    ----------
    rows : list of ndarray of int
        Rows of each study's samples in the table. A study has one entry for each environment.
    shares : ndarray
        How often each is drawn; they sum to one.
    names : list of str
    """

    rows: list[np.ndarray]
    shares: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, metadata: pd.DataFrame, rows: np.ndarray) -> "Part":
        """Weigh studies, so that the large ones do not drown the others."""
        places = metadata.iloc[rows]
        groups = pd.Series(rows).groupby(
            [places["environment"].to_numpy(), places["study"].to_numpy()]
        )
        by_study = {key: group.to_numpy() for key, group in groups}
        size = pd.Series({key: len(of_study) for key, of_study in by_study.items()})
        environment = size.groupby(level=0).sum() ** BALANCE
        within = size**BALANCE
        within /= within.groupby(level=0).transform("sum")
        shares = within * environment.loc[within.index.get_level_values(0)].to_numpy()
        names = [" ".join(key) for key in by_study]
        return cls(list(by_study.values()), (shares / shares.sum()).to_numpy(), names)


def read(directory: str | Path, max_bp: int, validation: float, seed: int) -> Corpus:
    """Read the studies of a corpus that are not held out.

    Parameters
    ----------
    directory : path
        Has table.biom, whose feature ids are sequences; tree.nwk, a rooted phylogeny of these
        features; and metadata.tsv, with the columns study, environment and holdout (yes or no).
    max_bp : int
        Nucleotides to read of each sequence.
    validation : float
        Share of the samples of each study that are not trained on.
    seed : int

    Raises
    ------
    ValueError
        If a sample has no metadata, or a column is missing.
    """
    directory = Path(directory)
    metadata = read_metadata(directory)
    whole = biom.load_table(str(directory / TABLE))
    missing = [name for name in whole.ids() if name not in metadata.index]
    if missing:
        raise ValueError(
            f"{len(missing)} samples of {TABLE}, such as '{missing[0]}', are not in {METADATA}."
        )
    kept = [name for name in whole.ids() if metadata.loc[name, "holdout"] == "no"]
    table = sample_table(whole.filter(kept, inplace=False), None, max_bp)
    metadata = metadata.loc[list(table.sample_ids)]
    branches = BranchTable.from_newick(str(directory / TREE), table.feature_ids)
    rng = np.random.default_rng([seed, 0x7A11D])
    lot = pd.Series(rng.random(len(metadata)), metadata.index)
    rank = lot.groupby(metadata["study"].to_numpy()).rank(pct=True)
    return Corpus(table, metadata, branches, (rank <= validation).to_numpy())


def held_out(directory: str | Path) -> list[str]:
    """List the studies that are held out."""
    metadata = read_metadata(directory)
    return sorted(set(metadata.loc[metadata["holdout"] == "yes", "study"]))


def read_metadata(directory: str | Path) -> pd.DataFrame:
    """Read what is known of the samples of a corpus, by sample id.

    Raises
    ------
    ValueError
        If a column is missing, or `holdout` is neither yes nor no.
    """
    path = Path(directory) / METADATA
    metadata = pd.read_csv(path, sep="\t", dtype=str, index_col=0, keep_default_na=False)
    for name in COLUMNS:
        if name not in metadata:
            raise ValueError(f"{path} has no column '{name}'.")
    other = sorted(set(metadata["holdout"]) - {"yes", "no"})
    if other:
        raise ValueError(f"The column holdout of {path} has '{other[0]}': say yes or no.")
    return metadata
