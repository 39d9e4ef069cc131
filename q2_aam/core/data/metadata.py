"""A metadata column beside a table: which samples have both (torch-free)."""

import logging

import numpy as np
import pandas as pd

from q2_aam.core.data import messages

log = logging.getLogger(__name__)

FEW_SAMPLES, FEW_OF_A_CLASS = 50, 10
LARGEST = 1e150
"""Beyond it, a square is no longer a finite number, and so is no variance."""


def with_values(sample_ids, column: pd.Series, missing_samples: str) -> pd.Series:
    """Return the column's values of the samples that have one, in the order of the table.

    Parameters
    ----------
    sample_ids : sequence of str
        Samples of the table.
    column : pandas.Series
        Values by sample id; missing ones are NaN or None.
    missing_samples : {'error', 'ignore'}
        What to do when samples of the table have no value.

    Raises
    ------
    ValueError
        If samples lack values and 'error' is chosen, or none has one, or an id occurs twice.
    """
    if not column.index.is_unique:
        twice = column.index[column.index.duplicated()][0]
        raise ValueError(f"Metadata column '{column.name}' has sample id '{twice}' twice.")
    known = set(column.index)
    absent = [name for name in sample_ids if name not in known]
    values = column.reindex([name for name in sample_ids if name in known])
    empty = list(values.index[values.isna()])
    others = len(known - set(sample_ids))
    if others and messages.whole() is None:  # those that a pipeline holds out are none
        log.info("%d samples of the metadata are not in the table.", others)
    _report(absent, "are not in the metadata", len(sample_ids), column.name, missing_samples)
    _report(empty, "have no value", len(sample_ids), column.name, missing_samples)
    values = values.dropna()
    if values.empty:
        raise ValueError(
            f"None of the table's {len(sample_ids)} samples, such as '{sample_ids[0]}', has a "
            f"value in metadata column '{column.name}'; check that the sample ids are the same."
        )
    return values


def _report(names, what, n_samples, column, missing_samples):
    if not names:
        return
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    said = f"{len(names)} of the table's {n_samples} samples {what} (column '{column}'): {listed}"
    if missing_samples == "error":
        raise ValueError(
            f"{said}. Filter the table, or leave such samples out with missing_samples 'ignore' "
            "(--p-missing-samples ignore)."
        )
    log.warning("%s. They are left out.", said)


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
            f"numbers, such as '{values[name]}' for sample '{name}'; correct or empty them, or "
            "train a classifier instead."
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
