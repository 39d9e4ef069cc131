"""A page as data, and how it becomes HTML that needs nothing from elsewhere.

Texts are plain: all of them are escaped here and nowhere else. The frame is that of q2templates,
as in other visualizations of QIIME 2; the library that draws the charts is in the page once.
"""

import functools
import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import altair
import jinja2
import pandas as pd
import q2templates
import vl_convert

from q2_aam.pages.legend import Key

ASSETS = Path(__file__).resolve().parent / "assets"


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart.

    Parameters
    ----------
    title : str
    spec : dict
        In Vega-Lite.
    description : str
        What it shows, in words, for all; screen readers have it as the chart's name too.
    legend : sequence of Key
    wide : bool
        Whether it has a row of the page for itself.
    """

    title: str
    spec: dict[str, Any]
    description: str
    legend: Sequence[Key] = ()
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    caption : str
    columns : sequence of str
    rows : sequence of sequences of str
        The first cell of each names the row.
    text_columns : int
        How many columns are aligned as text; those after them as numbers.
    collapsed : bool
        Whether only the caption is shown until it is opened.
    prose : bool
        Whether the last column has sentences.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    collapsed: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, and what is under it: paragraphs, then charts, then tables."""

    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Download:
    """A table that lies beside the page as a file of tab-separated text."""

    table: pd.DataFrame
    meaning: str


@dataclass(frozen=True)
class Page:
    """All of a visualization.

    Parameters
    ----------
    title : str
    lead : sequence of str
        The main result in a sentence or two.
    sections : sequence of Section
    notes : sequence of str
        What a reader must know before believing the page.
    downloads : dict of str to Download
        By the name of the file.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    downloads: dict[str, Download] = field(default_factory=dict)


def write(page: Page, output_dir: str) -> None:
    """Write the page as ``index.html`` with what it refers to beside it."""
    figures = [figure for section in page.sections for figure in section.figures]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, loader=jinja2.FileSystemLoader(ASSETS)
    )
    numbers = {figure: i for i, figure in enumerate(figures)}
    content = environment.get_template("content.html").render(page=page, numbers=numbers)
    specs = [f.spec | {"description": f"{f.title}. {f.description}"} for f in figures]
    context = {
        "title": _ascii(html.escape(page.title)),
        "content": _ascii(content),
        "style": (ASSETS / "style.css").read_text(encoding="utf-8"),
        "script": (ASSETS / "charts.js").read_text(encoding="utf-8"),
        "library": library(),
        "charts": in_script(specs),
    }
    for name, download in page.downloads.items():
        download.table.to_csv(Path(output_dir) / name, sep="\t", encoding="utf-8")
    q2templates.render(str(ASSETS / "index.html"), output_dir, context=context)


def _ascii(text: str) -> str:
    """Write all but ASCII as references: q2templates writes in the encoding of the locale."""
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def in_script(value) -> str:
    """Write a value as JSON that can stand in a script element, whatever texts it has."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.lru_cache(maxsize=1)
def library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as a script, in the version that Altair writes for."""
    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    text = re.sub(r"</(?=script)", r"<\\/", vl_convert.javascript_bundle(vl_version=version))
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)


def number(value: float) -> str:
    """Write a number in three or four digits; a dash where there is none."""
    if math.isnan(value):
        return "–"
    if not 0.1 <= abs(value) < 1e6:
        return f"{value:.3g}"
    digits_before = max(0, math.floor(math.log10(abs(value))))
    return f"{value:.{max(0, 3 - digits_before)}f}"


def interval(low: float, high: float) -> str:
    """Write an interval; a dash where there is none."""
    return "–" if math.isnan(low) else f"{number(low)} to {number(high)}"


def count(n: int, what: str) -> str:
    """Write how many there are of something, with thousands apart."""
    return f"{n:,} {what}" + ("s" if n != 1 else "")
