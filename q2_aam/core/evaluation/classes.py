"""Whether true classes belong to the model whose predictions they are compared with."""

from collections.abc import Sequence

import pandas as pd

from q2_aam.core.data.metadata import listed


def check_classes(true: pd.Series, known: Sequence[str]) -> None:
    """Refuse a column in which no value is a class of the predictions.

    Parameters
    ----------
    true : pandas.Series of str
        Values of a metadata column by sample id.
    known : sequence of str
        The classes that have probabilities.

    Raises
    ------
    ValueError
        If no value is one of the classes.
    """
    found, known = set(true), list(map(str, known))
    if found & set(known):
        return
    raise ValueError(
        f"No value of metadata column '{true.name}' in the {len(true)} predicted samples is a "
        f"class of the predictions: the column has {listed(found)}; the classes are "
        f"{listed(known)}. Give the column that was predicted, with the same spelling."
    )
