"""Predictions of q2-sample-classifier's types, read as the words that were written.

The views of q2-sample-classifier turn words into numbers and missing values where they can: '01'
comes back as 1, and 'None' or 'NA' as a missing value. What is read here stays as it is. Other
programs use those views all the same, so classes that they would change are refused.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from q2_sample_classifier import PredictionsDirectoryFormat, ProbabilitiesDirectoryFormat

MISSING_WORDS = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
"""Words that any version of pandas reads as a missing value; 'None' is one since version 2."""

ID_HEADERS = frozenset(
    ("id", "sampleid", "sample id", "sample-id", "featureid", "feature id", "feature-id")
)
EXACT_ID_HEADERS = frozenset(("#SampleID", "#Sample ID", "#OTUID", "#OTU ID", "sample_name"))
"""Names of the column of ids in QIIME 2's metadata, which no other column may have."""

SHOWN = 3


def read_predictions(directory: PredictionsDirectoryFormat) -> pd.Series:
    """Return predictions as text by sample id, whatever ids and predictions look like."""
    return _read_text(str(directory.path / "predictions.tsv")).iloc[:, 0]


def read_numbers(directory: PredictionsDirectoryFormat) -> pd.Series:
    """Return predictions of a numeric column by sample id.

    Raises
    ------
    ValueError
        If predictions are no finite numbers.
    """
    predictions = read_predictions(directory)
    numbers = pd.to_numeric(predictions, errors="coerce").astype(float)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} of {len(numbers)} predictions are not finite numbers, such as "
            f"'{predictions.iloc[wrong[0]]}' of sample '{numbers.index[wrong[0]]}'; predict with "
            "a regressor. Predictions of a classifier have actions of their own, such as "
            "evaluate-classification."
        )
    return numbers


def read_probabilities(directory: ProbabilitiesDirectoryFormat) -> pd.DataFrame:
    """Return probabilities by sample id and class, whatever ids and classes look like."""
    return _read_text(str(directory.path / "class_probabilities.tsv")).astype(float)


def _read_text(path: str) -> pd.DataFrame:
    # Without a header, as pandas would change names that occur in it twice.
    cells = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    names, body = cells.iloc[0], cells.iloc[1:]
    ids = pd.Index(body[0], name=names[0])
    return pd.DataFrame(body.iloc[:, 1:].to_numpy(), ids, list(names[1:]))


def write_predictions(predictions: pd.Series) -> PredictionsDirectoryFormat:
    """Write predictions that are text."""
    directory = PredictionsDirectoryFormat()
    predictions.to_csv(str(directory.path / "predictions.tsv"), sep="\t")
    return directory


def check_class_names(column: str, classes: Iterable[str]) -> None:
    """Refuse classes that QIIME 2 would show as something else once they are predicted.

    Parameters
    ----------
    column : str
        Name of the metadata column, for the message.
    classes : iterable of str

    Raises
    ------
    ValueError
        If a class is a word for a missing value, or a number in another form than numbers are
        written in ('01', '1.0'), or the header of a column of ids ('id').
    """
    changed = _read_otherwise(sorted(set(classes)))
    if not changed:
        return
    listed = "; ".join(f"'{name}' as {what}" for name, what in list(changed.items())[:SHOWN])
    more = f"; and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    example = next(iter(changed))
    raise ValueError(
        f"Metadata column '{column}' has {len(changed)} class{'es' * (len(changed) > 1)} that "
        f"QIIME 2 would read otherwise in the results: {listed}{more}. Rename such classes in the "
        f"metadata, for example '{example}' to '{column} {example}'. If a class says that the "
        "value is missing, leave its cells empty instead."
    )


def _read_otherwise(names: list[str]) -> dict[str, str]:
    """Return as what each name is read that does not come back as it is."""
    found = {name: "a missing value" for name in names if name in MISSING_WORDS}
    found |= {name: "text without the spaces" for name in names if name != name.strip()}
    others = [name for name in names if name not in found]
    found |= {name: "the name of the column of ids" for name in others if is_reserved(name)}
    values = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce")
    numbers = {
        name: value
        for name, value in zip(names, values, strict=True)
        if name not in found and not pd.isna(value)
    }
    if not numbers:
        return found
    together = pd.to_numeric(pd.Series(list(numbers), dtype=object))
    for name, value in zip(numbers, together, strict=True):
        if not math.isfinite(value):
            found[name] = "an infinite number"
            continue
        # Results may hold this class only, or all: with a fraction, all become fractions.
        forms = [str(value), f"{value:.15g}"]
        if together.dtype.kind == "f":
            forms.insert(0, str(pd.to_numeric(pd.Series([name], dtype=object)).iloc[0]))
        changed = [text for text in forms if text != name]
        if changed:
            found[name] = changed[0]
    return found


def is_reserved(name: str) -> bool:
    """Whether QIIME 2's metadata has this name for the column of ids only."""
    return name.lower() in ID_HEADERS or name in EXACT_ID_HEADERS
