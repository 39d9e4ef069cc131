"""Which quantiles of a numeric target are predicted, and how their columns are named."""

from itertools import pairwise

MEDIAN = 0.5
MOST = 25
MAX_TEXT = 1000
PREFIX = "quantile-"


def parse(text: str) -> tuple[float, ...]:
    """Read a list of quantiles.

    Parameters
    ----------
    text : str
        Such as '0.05,0.5,0.95'.

    Returns
    -------
    tuple of float
        Increasing, between 0 and 1; the median and numbers on both sides of it are among them.

    Raises
    ------
    ValueError
        If the text is anything else.
    """
    try:
        if len(text) > MAX_TEXT:
            raise ValueError("too long")
        return checked(tuple(float(part) for part in text.split(",")))
    except ValueError as error:
        raise ValueError(
            f"quantiles must be 3 to {MOST} increasing numbers between 0 and 1, separated by "
            "commas, with 0.5 and numbers on both sides of it, such as '0.05,0.5,0.95'; found "
            f"{text[:60]!r}"
        ) from error


def checked(levels: tuple[float, ...]) -> tuple[float, ...]:
    """Return quantiles as they are.

    Raises
    ------
    ValueError
        If they are not as `parse` describes.
    """
    increasing = all(low < high for low, high in pairwise(levels))
    inside = all(0 < level < 1 for level in levels)
    if not (increasing and inside and MEDIAN in levels[1:-1] and len(levels) <= MOST):
        raise ValueError("not increasing, outside of 0 to 1, or without a median in the middle")
    return levels


def names(levels: tuple[float, ...]) -> list[str]:
    """Name a column for each quantile: 'quantile-0.05'."""
    return [f"{PREFIX}{level}" for level in levels]


def levels_of(columns) -> tuple[float, ...]:
    """Return the quantiles that columns are named after; see `names`.

    Raises
    ------
    ValueError
        If a column has another name, or they are not as `parse` describes.
    """
    return checked(tuple(float(str(name).removeprefix(PREFIX)) for name in columns))
