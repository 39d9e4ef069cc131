"""What pipelines check at the start: all that an action of theirs would refuse after others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import biom
import pandas as pd
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat

from q2_aam.core.options.config import Settings

if TYPE_CHECKING:
    from q2_aam.core.training.preparation.feasibility import Feasibility


@dataclass(frozen=True)
class CheckedInput:
    """What a pipeline was given: the table, the target and the group by sample id, and artifacts.

    The phylogeny is absent where nothing would be learnt of it.
    """

    counts: biom.Table
    target: pd.Series
    groups: pd.Series | None
    phylogeny: Any
    sequences: Any
    covariates: pd.DataFrame | None = None


def check_at_start(
    given: CheckedInput, model: str, settings: Settings, parts: pd.Series, held_out: list[str]
) -> "Feasibility":
    """Check everything that is known before training.

    Sequences and counts are checked for all samples, for those that are held out too, as they are
    read only after training.

    Parameters
    ----------
    given : CheckedInput
    model : {'SequenceRegressor', 'SequenceClassifier'}
    settings : Settings
    parts : pandas.Series of str
        The part that each sample is in, by sample id.
    held_out : list of str
        Names of the parts that are held out, one after the other.

    Returns
    -------
    Feasibility
        What is learnt without each part, or why it cannot be.

    Raises
    ------
    ValueError
        If the table, sequences or phylogeny cannot be read, or results could not hold a sample id.
    """
    from q2_aam.core.data.sample_table import sample_table
    from q2_aam.core.training.preparation.feasibility import check_parts
    from q2_aam.core.training.preparation.run_input import RunInput

    _check_ids(parts.index)
    # The views must live as long as their files are read.
    sequences = None if given.sequences is None else given.sequences.view(DNAFASTAFormat)
    tree = None if given.phylogeny is None else given.phylogeny.view(NewickFormat)
    table = given.counts.filter(set(parts.index), inplace=False)
    samples = sample_table(table, sequences and str(sequences), settings.model.max_bp)
    target = given.target[list(samples.sample_ids)]
    beside = {"groups": given.groups, "covariates": given.covariates}
    inputs = RunInput(model, settings, samples, target, tree and str(tree), **beside)
    return check_parts(inputs, parts, held_out)


def _check_ids(sample_ids: pd.Index) -> None:
    """Refuse ids that would break the lines of results, which are tables of text."""
    wrong = [name for name in sample_ids if any(ord(c) < 32 or ord(c) == 127 for c in name)]
    if wrong:
        raise ValueError(
            f"{len(wrong)} sample ids have a control character such as a tab or a line break, for "
            f"example {wrong[0]!r}; rename these samples in the table and in the metadata."
        )
