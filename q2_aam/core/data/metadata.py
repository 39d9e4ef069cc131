"""A metadata column beside a table: which samples have both (torch-free)."""

import difflib
import logging
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from q2_aam.core.data import messages
from q2_aam.core.data.missing_words import are_missing, are_of_insdc, may_be_missing

log = logging.getLogger(__name__)

FEW_SAMPLES, FEW_OF_A_CLASS = 50, 10
LARGEST = 1e150
"""Beyond it, a square is no longer a finite number, and so is no variance."""
SHOWN = 5
"""Names in a message at most."""
MOST_COMPARED = 1000
"""Sample ids of the metadata among which one like an id of the table is looked for."""


def with_values(
    sample_ids, column: pd.Series, missing_samples: str, *, numeric: bool = False
) -> pd.Series:
    """Return the column's values of the samples that have one, in the order of the table.

    Parameters
    ----------
    sample_ids : sequence of str
        Samples of the table.
    column : pandas.Series
        Values by sample id; missing ones are NaN or None, or words such as 'not applicable'
        (`missing_words`).
    missing_samples : {'error', 'ignore'}
        What to do when samples of the table have no value.
    numeric : bool
        Whether numbers are expected, so that more words stand for a missing one.

    Raises
    ------
    ValueError
        If samples lack values and 'error' is chosen, or none has one, or an id occurs twice, or
        the metadata are of other samples.
    """
    if not column.index.is_unique:
        twice = column.index[column.index.duplicated()][0]
        raise ValueError(f"Metadata column '{column.name}' has sample id '{twice}' twice.")
    known = set(column.index)
    absent = [name for name in sample_ids if name not in known]
    values = column.reindex([name for name in sample_ids if name in known])
    if len(values) == 0:
        raise ValueError(_none_agrees(sample_ids, column))
    if values.isna().all():  # to leave such samples out would leave none
        raise ValueError(_none_has_a_value(sample_ids, column))
    others = len(known - set(sample_ids))
    if others and messages.whole() is None:  # those that a pipeline holds out are none
        log.info("%d samples of the metadata are not in the table.", others)
    n, ignore = len(sample_ids), missing_samples == "ignore"
    _report(absent, "are not in the metadata", n, column.name, ignore, _alike(absent, column))
    _report(list(values.index[values.isna()]), "have no value", n, column.name, ignore)
    values = values.dropna()
    are_words = are_missing(values, numeric=numeric)
    if are_words.any():
        _report_words(values[are_words], n, ignore, numeric)
        values = values[~are_words]
    if values.empty:
        raise ValueError(_none_has_a_value(sample_ids, column))
    if not numeric:
        _warn_of_words(values)
    return values


def _report(names, what, n_samples, column, ignore, hint=""):
    if not names:
        return
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    said = f"{len(names)} of the table's {n_samples} samples {what} (column '{column}'): {listed}"
    if not ignore:
        raise ValueError(
            f"{said}{hint}. Filter the table, or leave such samples out with missing_samples "
            "'ignore' (--p-missing-samples ignore)."
        )
    extra = {"kind": (what, column)}
    log.warning("%s%s. They are left out.", said, hint, extra=extra)


def _none_agrees(sample_ids, column) -> str:
    first, ids = str(sample_ids[0]), {str(i).casefold(): i for i in column.index[:MOST_COMPARED]}
    nearest = difflib.get_close_matches(first.casefold(), ids, n=1, cutoff=0.0)
    found = f"{len(column)}, such as '{ids[nearest[0]]}'" if nearest else "none"
    return (
        f"None of the sample ids agree (column '{column.name}'): the table has {len(sample_ids)}, "
        f"such as '{first}', the metadata has {found}. Give the metadata of this table, or write "
        "the ids in the same way."
    )


def _none_has_a_value(sample_ids, column) -> str:
    return (
        f"None of the table's {len(sample_ids)} samples, such as '{sample_ids[0]}', has a value "
        f"in metadata column '{column.name}'; choose another column, or give more of the metadata."
    )


def _alike(absent, column) -> str:
    """Name a sample of the metadata whose id differs in case and punctuation only."""

    def plain(name):
        return re.sub(r"[\W_]+", "", str(name).casefold())

    if absent:
        of = {plain(name): name for name in column.index}
        for name in absent:
            if plain(name) in of:
                return f" (the metadata has '{of[plain(name)]}', the table '{name}')"
    return ""


def _report_words(words: pd.Series, n_samples: int, ignore: bool, numeric: bool) -> None:
    """Tell of words for a missing value, or refuse them."""
    said = (
        f"{len(words)} of the table's {n_samples} samples have a word for a missing value (column "
        f"'{words.name}'): {counted(words)}, such as for sample '{words.index[0]}'"
    )
    if ignore:
        log.warning("%s. They are left out.", said, extra={"kind": words.name})
        return
    way_out = "If a word is meant as a value, write it in another way"
    if numeric:
        way_out = "So that QIIME 2 reads the column as numbers, empty these cells"
        if are_of_insdc(words).all():
            way_out += (
                ", or write INSDC:missing for the column in a line '#q2:missing' of the metadata"
            )
    raise ValueError(
        f"{said}. Leave such samples out with missing_samples 'ignore' (--p-missing-samples "
        f"ignore). {way_out}."
    )


def _warn_of_words(values: pd.Series) -> None:
    words = values[may_be_missing(values)]
    if len(words):
        log.warning(
            "%d samples have a word in column '%s' that may stand for a missing value: %s. It is "
            "taken for a value; if it is none, empty these cells.",
            len(words), words.name, counted(words), extra={"kind": words.name},
        )  # fmt: skip


def counted(values: pd.Series) -> str:
    """List the commonest of some values, with how often each occurs."""
    sizes = values.value_counts()
    listed = ", ".join(f"'{str(name)[:40]}' ({n})" for name, n in sizes.head(4).items())
    return listed + (", …" if len(sizes) > 4 else "")


def listed(names: Iterable[str]) -> str:
    """List some names for a message, in their order by letters."""
    names = sorted(names)
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def check_numbers(values: pd.Series) -> pd.Series:
    """Return the values as floats.

    Raises
    ------
    ValueError
        If one is not a finite number, or beyond `LARGEST`.
    """
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        name = values.index[wrong][0]
        raise ValueError(
            f"Metadata column '{values.name}' has {int(wrong.sum())} values that are not finite "
            f"numbers, such as '{str(values[name])[:40]}' for sample '{name}' (in all: "
            f"{counted(values[wrong])}); write numbers like 12.5, without a unit, and empty the "
            "other cells, or predict these values as classes with a classifier."
        )
    if (numbers.abs() > LARGEST).any():
        raise ValueError(
            f"Metadata column '{values.name}' has values as large as {numbers.abs().max():g}, "
            f"such as that of sample '{numbers.abs().idxmax()}', beyond {LARGEST:g}; use units in "
            "which they are smaller."
        )
    return numbers


def warn_if_few(n_samples: int, classes=None) -> None:
    """Warn where there is too little to learn from, or to trust a validation score.

    Within a pipeline, all samples that its user gave count.

    Parameters
    ----------
    n_samples : int
        Samples of the run, for training and validation.
    classes : array-like of str, optional
        Their classes.
    """
    whole = messages.whole() or messages.Whole(n_samples, classes)
    n_samples, classes = whole.n_samples, None if classes is None else whole.classes
    if n_samples < FEW_SAMPLES:
        advice = "" if whole.cross_validated else "; cross-validate before trusting them"
        log.warning(
            "Only %d samples: below %d, scores vary much from one split to the next%s.",
            n_samples, FEW_SAMPLES, advice,
        )  # fmt: skip
    if classes is None:
        return
    sizes = pd.Series(classes).value_counts()
    few = sizes[sizes < FEW_OF_A_CLASS]
    if len(few):
        log.warning(
            "%d of %d classes have fewer than %d samples, such as '%s' with %d: expect the model "
            "to miss them often.",
            len(few), len(sizes), FEW_OF_A_CLASS, few.index[-1], few.iloc[-1],
        )  # fmt: skip
