"""Predicted classes under their own names, whatever form they were read in."""

import pandas as pd


def class_names(predictions: pd.Series, probabilities: pd.DataFrame) -> pd.Series:
    """Return predicted classes under the names that the probabilities have.

    QIIME 2 reads predictions as numbers where it can, so that '01' comes as 1, and class names
    such as 'None' as missing. A name that is not among the classes is therefore looked up as a
    number; where it is missing, or could be several classes, it is that of the greatest
    probability.
    """
    names = [str(name) for name in probabilities.columns]
    by_number = {}
    for name, value in zip(names, pd.to_numeric(pd.Series(names), errors="coerce"), strict=True):
        by_number.setdefault(value, []).append(name)
    most_probable = probabilities.to_numpy().argmax(axis=1)

    def name_of(value, best):
        could_be = by_number.get(value, [])
        if pd.isna(value) or len(could_be) > 1:
            return names[best]
        return could_be[0] if could_be else str(value)

    found = [name_of(*pair) for pair in zip(predictions, most_probable, strict=True)]
    return pd.Series(found, predictions.index)
