"""Colours, dashes and shapes, and the legends that explain them.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart, without the
yellow, which is faint on white [1]_; lines and points differ in their form as well.

References
----------
.. [1] Okabe M, Ito K. Color universal design: how to make figures and presentations that are
   friendly to colorblind people. https://jfly.uni-koeln.de/color/ (2008).
"""

from collections.abc import Sequence
from dataclasses import dataclass

BLUE, VERMILLION, BLACK, GREY = "#0072B2", "#D55E00", "#000000", "#999999"
PALETTE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)
DASHES = ((1, 0), (6, 3), (2, 2), (10, 3), (8, 3, 2, 3), (4, 2), (1, 3))
OUTLINES = {
    "circle": "M6 1a5 5 0 1 0 .01 0z",
    "square": "M1.5 1.5h9v9h-9z",
    "triangle-up": "M6 1l5.5 10h-11z",
    "diamond": "M6 0l5 6l-5 6l-5 -6z",
    "cross": "M4 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
    "triangle-down": "M6 11l5.5 -10h-11z",
    "triangle-right": "M11 6l-10 5.5v-11z",
}
SHAPES = tuple(OUTLINES)
OTHER = "all others"
SERIES = ("training", "validation")


def colours_of(names: Sequence[str]) -> list[str]:
    """Give each name a colour, and grey to all that come after the palette is used up."""
    return [
        GREY if name == OTHER or i >= len(PALETTE) else PALETTE[i] for i, name in enumerate(names)
    ]


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a line if it has a dash, else a point.

    Legends are lists in the page, not parts of charts: they wrap where the page is narrow.

    Parameters
    ----------
    label, colour : str
    dash : str
        Lengths of dashes and gaps in pixels, as SVG has them.
    path : str
        Outline of the point in a square of 12 pixels, as SVG has it.
    """

    label: str
    colour: str
    dash: str = ""
    path: str = ""


def line_keys(names: Sequence[str], colours: Sequence[str] | None = None) -> list[Key]:
    """Return the legend of lines that differ in colour and dash."""
    colours = colours or colours_of(names)
    dashes = [" ".join(map(str, DASHES[i % len(DASHES)])) for i in range(len(names))]
    return [Key(*entry) for entry in zip(names, colours, dashes, strict=True)]


def point_keys(groups: Sequence[str]) -> list[Key]:
    """Return the legend of points that differ in colour and shape."""
    paths = [OUTLINES[SHAPES[i % len(SHAPES)]] for i in range(len(groups))]
    colours = colours_of(groups)
    return [Key(n, c, path=p) for n, c, p in zip(groups, colours, paths, strict=True)]


def course_keys(
    models: Sequence[str], with_values: Sequence[str], series: Sequence[str]
) -> list[Key]:
    """Return the legend of a course of training.

    Parameters
    ----------
    models : sequence of str
        All that are compared.
    with_values : sequence of str
        Those that are in the chart.
    series : sequence of str
        Those of `SERIES` that are in the chart.
    """
    if len(models) == 1:
        return [key for key in line_keys(SERIES) if key.label in series]
    colours = dict(zip(models, colours_of(models), strict=True))
    solid = [Key(name, colours[name], "1 0") for name in models if name in with_values]
    black = line_keys(SERIES, [BLACK] * len(SERIES))
    return solid + [key for key in black if key.label in series]
