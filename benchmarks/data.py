"""Data sets as the benchmarks read them: a table, a tree, perhaps sequences, and metadata."""

from dataclasses import dataclass
from pathlib import Path

import biom
import pandas as pd

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLD = "fold"


@dataclass(frozen=True)
class DataSet:
    """One directory of data.

    Parameters
    ----------
    table : biom.Table
    metadata : pandas.DataFrame
        Text, by sample id; empty cells are missing.
    tree : Path
    sequences : Path, optional
        Where the feature ids are not the sequences.
    """

    table: biom.Table
    metadata: pd.DataFrame
    tree: Path
    sequences: Path | None

    def samples(self, ids) -> biom.Table:
        """Return the table of some samples, without the features that none of them has."""
        wanted = set(ids)
        kept = self.table.filter(lambda _, name, __: name in wanted, inplace=False)
        return kept.remove_empty(axis="observation", inplace=False)

    def column(self, name: str) -> pd.Series:
        """Return a metadata column of the table's samples that have a value; numbers if it can."""
        known = self.metadata.loc[self.metadata.index.isin(self.table.ids()), name].dropna()
        numbers = pd.to_numeric(known, errors="coerce")
        return known if numbers.isna().any() else numbers

    def without_fold(self, fold: str) -> list[str]:
        """List the samples of the table that are not in a fold."""
        return [name for name in self.table.ids() if self._fold_of(name) != fold]

    def in_fold(self, fold: str) -> list[str]:
        """List the samples of the table that are in a fold."""
        return [name for name in self.table.ids() if self._fold_of(name) == fold]

    def _fold_of(self, name):
        return self.metadata[FOLD].get(name)


def read(directory: str | Path) -> DataSet:
    """Read ``table.biom``, ``tree.nwk``, ``metadata.tsv`` and, if there, ``sequences.fna``."""
    directory = Path(directory)
    metadata = pd.read_csv(directory / "metadata.tsv", sep="\t", dtype=str, index_col=0)
    sequences = directory / "sequences.fna"
    return DataSet(
        biom.load_table(str(directory / "table.biom")),
        metadata,
        directory / "tree.nwk",
        sequences if sequences.exists() else None,
    )
