"""The charts: records in, Vega-Lite out.

Values of users are data here, never names of fields or parts of expressions.
"""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from q2_aam.pages.legend import (
    BLACK,
    BLUE,
    DASHES,
    GREY,
    OTHER,
    SHAPES,
    VERMILLION,
    colours_of,
)

HEIGHT, SQUARE = 260, 340
TEXT_CLASSES = 12
FEW_POINTS = 300

Records = list[dict[str, Any]]


def records(**columns: Sequence) -> Records:
    """Turn columns into records for a chart; what is not a finite number becomes missing."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(names, map(_plain, row), strict=True)) for row in rows]


def _plain(value):
    if isinstance(value, str | bool):
        return value
    value = float(value)
    # Six digits are more than a screen shows, and keep the page small.
    return float(f"{value:.6g}") if math.isfinite(value) else None


def finish(chart, height: int, **datasets: Records) -> dict[str, Any]:
    """Return the specification of a chart as wide as its place, with its data."""
    chart = chart.properties(
        width="container",
        height=height,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
    )
    chart = (
        chart.configure_axis(
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor="#222",
            titleColor="#222",
            gridColor="#e4e4e4",
            labelLimit=130,
            titleLimit=300,
            labelOverlap=True,
            labelSeparation=5,
        )
        .configure_legend(
            orient="top", labelFontSize=11, labelLimit=150, titleFontSize=12, symbolLimit=0
        )
        .configure_view(stroke="#ccc")
    )
    spec = chart.to_dict() | {"datasets": datasets}
    del spec["$schema"]  # an address, though nothing is fetched from it
    return spec


def data_named(name: str) -> alt.NamedData:
    """Refer to a set of records by its name."""
    return alt.NamedData(name=name)


def extent_scale(rows: Records, *fields: str) -> alt.Scale:
    """Return a scale that does without zero, and has room where all values are the same."""
    values = [row[field] for row in rows for field in fields if row[field] is not None]
    if not values or max(values) > min(values):
        return alt.Scale(zero=False)
    room = 0.1 * abs(values[0]) or 1.0
    return alt.Scale(zero=False, domain=[values[0] - room, values[0] + room])


def whole_ticks(first: int, last: int, most: int = 10) -> alt.Axis:
    """Return an axis that marks whole numbers only, each once.

    Vega marks fractions in spite of a least step of 1, and then writes some numbers twice.
    """
    steps = (base * 10**power for power in range(16) for base in (1, 2, 5))
    step = next(step for step in steps if last - first <= step * most)
    return alt.Axis(format="d", values=list(range(first, last + 1, step)))


def shade_scale(names: Sequence[str]) -> alt.Scale:
    """Return a scale of one colour a name."""
    return alt.Scale(domain=list(names), range=colours_of(names))


def form_scale(names: Sequence[str], forms: Sequence) -> alt.Scale:
    """Return a scale of dashes or shapes by name, in turn."""
    return alt.Scale(domain=list(names), range=[forms[i % len(forms)] for i in range(len(names))])


def _sample_tooltips(grouped: bool):
    tips = [
        alt.Tooltip("sample:N", title="Sample"),
        alt.Tooltip("true:Q", title="True", format=".4~g"),
        alt.Tooltip("predicted:Q", title="Predicted", format=".4~g"),
        alt.Tooltip("residual:Q", title="Predicted - true", format=".4~g"),
    ]
    return tips + [alt.Tooltip("group:N", title="Group")] * grouped


def _points(chart, n: int, groups: Sequence[str]):
    """Draw n samples, in one colour or by group."""
    size = 50 if n <= FEW_POINTS else 28
    chart = chart.mark_point(aria=False, filled=True, opacity=0.6, size=size)
    if not groups:
        return chart.encode(color=alt.value(BLUE), tooltip=_sample_tooltips(False))
    return chart.encode(
        color=alt.Color("group:N", scale=shade_scale(groups), legend=None),
        shape=alt.Shape("group:N", scale=form_scale(groups, SHAPES), legend=None),
        tooltip=_sample_tooltips(True),
    )


def predicted_against_true(
    points: Records, ends: Records, groups: Sequence[str], column: str
) -> dict[str, Any]:
    """Draw predicted against true values.

    Parameters
    ----------
    points : records
        Of ``sample``, ``true``, ``predicted``, ``residual``, ``group``, and, to be drawn with
        their intervals, ``low`` and ``high``.
    ends : records
        Both ends of the line on which predictions would be right (``at``), and of the band
        around it (``low``, ``high``).
    groups : sequence of str
        Empty if samples are not told apart.
    column : str
    """
    x = alt.X(
        "true:Q", title=f"True {column} (units of the column)", scale=extent_scale(points, "true")
    )
    title = f"Predicted {column} (units of the column)"
    scale = extent_scale(ends, "low", "high")
    line = alt.Chart(data_named("ends")).encode(x=alt.X("at:Q"))
    band = line.mark_area(aria=False, color=GREY, opacity=0.25).encode(
        y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"
    )
    diagonal = line.mark_line(aria=False, color=BLACK, strokeDash=[5, 3], strokeWidth=1.5).encode(
        y=alt.Y("at:Q", title=title)
    )
    samples = _points(
        alt.Chart(data_named("points")).encode(x=x, y=alt.Y("predicted:Q", title=title)),
        len(points),
        groups,
    )
    bars = alt.Chart(data_named("points")).mark_rule(aria=False, opacity=0.25, strokeWidth=1)
    bars = bars.encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q")
    bars = [bars] if points and "low" in points[0] else []
    return finish(alt.layer(band, *bars, diagonal, samples), SQUARE, points=points, ends=ends)


def residuals(points: Records, groups: Sequence[str], column: str) -> dict[str, Any]:
    """Draw predicted minus true values against predicted ones, of records as above."""
    samples = _points(
        alt.Chart(data_named("points")).encode(
            x=alt.X("predicted:Q", title=f"Predicted {column} (units of the column)",
                    scale=extent_scale(points, "predicted")),
            y=alt.Y("residual:Q", title="Predicted minus true (units of the column)"),
        ),
        len(points),
        groups,
    )  # fmt: skip
    zero = alt.Chart(data_named("zero")).mark_rule(aria=False, strokeDash=[5, 3]).encode(y="at:Q")
    return finish(zero + samples, SQUARE, points=points, zero=[{"at": 0}])


def histogram(rows: Records, x_title: str, y_title: str = "Samples") -> dict[str, Any]:
    """Draw how many samples there are in each range: records of ``least``, ``most``, ``n``."""
    highest = int(max((row["n"] for row in rows), default=0))
    chart = alt.Chart(data_named("rows")).mark_bar(aria=False, color=BLUE, stroke="white")
    chart = chart.encode(
        x=alt.X("least:Q", bin="binned", title=x_title),
        x2="most:Q",
        y=alt.Y("n:Q", title=y_title, axis=whole_ticks(0, highest)),
        tooltip=[
            alt.Tooltip("least:Q", title="From", format=".4~g"),
            alt.Tooltip("most:Q", title="to", format=".4~g"),
            alt.Tooltip("n:Q", title=y_title),
        ],
    )
    return finish(chart, HEIGHT, rows=rows)


def group_scores(rows: Records, x_title: str) -> dict[str, Any]:
    """Draw a score by group with its interval, and a tick where a constant prediction is.

    Parameters
    ----------
    rows : records
        Of ``group``, ``value``, ``low``, ``high``, ``baseline``, ``n``, in the order to be shown.
    x_title : str
    """
    base = alt.Chart(data_named("rows")).encode(
        y=alt.Y("group:N", title=None, sort=None, axis=alt.Axis(labelOverlap=False)),
        tooltip=[
            alt.Tooltip("group:N", title="Group"),
            alt.Tooltip("n:Q", title="Samples"),
            alt.Tooltip("value:Q", title="Score", format=".4~g"),
            alt.Tooltip("low:Q", title="Interval from", format=".4~g"),
            alt.Tooltip("high:Q", title="to", format=".4~g"),
            alt.Tooltip("baseline:Q", title="Constant prediction", format=".4~g"),
        ],
    )
    x = alt.X("value:Q", title=x_title)
    rule = base.mark_rule(aria=False, color=BLUE, strokeWidth=2).encode(
        x=alt.X("low:Q", title=x_title), x2="high:Q"
    )
    point = base.mark_point(aria=False, filled=True, size=70, color=BLUE, opacity=1).encode(x=x)
    tick = base.mark_tick(aria=False, color=VERMILLION, thickness=3, size=16, opacity=1).encode(
        x=alt.X("baseline:Q", title=x_title)
    )
    return finish(rule + tick + point, 24 * max(2, len(rows)), rows=rows)


def confusion(rows: Records, n_classes: int) -> dict[str, Any]:
    """Draw a confusion matrix: records of ``true``, ``predicted``, ``n`` and ``share`` of row.

    Where there is room, the cells bear their counts.
    """
    base = alt.Chart(data_named("rows")).encode(
        x=alt.X("predicted:N", title="Predicted class", sort=None, axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("true:N", title="True class", sort=None),
    )
    cells = base.mark_rect(aria=False, stroke="#ddd", strokeWidth=0.5).encode(
        color=alt.Color(
            "share:Q",
            scale=alt.Scale(
                range=["#ffffff", "#9ecae1", "#08306b"], domain=[0, 0.5, 1], interpolate="rgb"
            ),
            legend=alt.Legend(
                title="Share of the true class", format="%", gradientLength=160, titleLimit=200
            ),
        ),
        tooltip=[
            alt.Tooltip("true:N", title="True"),
            alt.Tooltip("predicted:N", title="Predicted"),
            alt.Tooltip("n:Q", title="Samples"),
            alt.Tooltip("share:Q", title="Share of the true class", format=".1%"),
        ],
    )
    side = max(14, min(44, 520 // n_classes))
    if n_classes > TEXT_CLASSES:
        return finish(cells, max(200, side * n_classes), rows=rows)
    roomy = alt.ExprRef(f"width / {int(n_classes)} > 26 ? 1 : 0")
    counts = base.mark_text(aria=False, fontSize=11, opacity=roomy).encode(
        text="n:Q",
        color=alt.condition("datum.share > 0.72", alt.value("white"), alt.value("#222")),
    )
    return finish(cells + counts, max(200, side * n_classes), rows=rows)


def class_curves(
    rows: Records, names: Sequence[str], titles: tuple[str, str], diagonal: bool
) -> dict[str, Any]:
    """Draw a curve for each class within the unit square.

    Parameters
    ----------
    rows : records
        Of ``name``, ``x``, ``y`` and ``order`` along the curve.
    names : sequence of str
        The classes that have a colour of their own; all others are grey.
    titles : tuple of str
        Of the axes.
    diagonal : bool
        Whether to show the line of chance.
    """
    unit = alt.Scale(domain=[0, 1])
    shown = [row | {"shade": row["name"] if row["name"] in names else OTHER} for row in rows]
    # Grey curves first, so that they lie below.
    shown.sort(key=lambda row: row["shade"] != OTHER)
    shades = [*names, *[OTHER] * any(row["shade"] == OTHER for row in shown)]
    x, y = alt.X("x:Q", title=titles[0], scale=unit), alt.Y("y:Q", title=titles[1], scale=unit)
    lines = alt.Chart(data_named("rows")).mark_line(aria=False, clip=True)
    lines = lines.encode(
        x=x,
        y=y,
        color=alt.Color("shade:N", scale=shade_scale(shades), legend=None),
        strokeDash=alt.StrokeDash("shade:N", scale=form_scale(shades, DASHES), legend=None),
        detail="name:N",
        order="order:Q",
        strokeWidth=alt.condition(f"datum.shade == '{OTHER}'", alt.value(0.7), alt.value(2)),
        tooltip=[
            alt.Tooltip("name:N", title="Class"),
            alt.Tooltip("x:Q", title=titles[0], format=".3f"),
            alt.Tooltip("y:Q", title=titles[1], format=".3f"),
        ],
    )
    if not diagonal:
        return finish(lines, SQUARE, rows=shown)
    return finish(_chance(x, y) + lines, SQUARE, rows=shown, ends=_DIAGONAL)


_DIAGONAL = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]


def _chance(x, y):
    line = alt.Chart(data_named("ends")).mark_line(aria=False, color=GREY, strokeDash=[5, 3])
    return line.encode(x=x, y=y)


def reliability(rows: Records) -> dict[str, Any]:
    """Draw accuracy against confidence.

    Parameters
    ----------
    rows : records
        Of ``confidence``, ``accuracy``, ``low``, ``high`` and ``n``.
    """
    unit = alt.Scale(domain=[0, 1])
    axis = alt.Axis(format="%")
    x = alt.X("confidence:Q", title="Mean probability of the predicted class", scale=unit,
              axis=axis)  # fmt: skip
    title = "Predictions that were right"
    y = alt.Y("accuracy:Q", title=title, scale=unit, axis=axis)
    base = alt.Chart(data_named("rows")).encode(
        x=x,
        tooltip=[
            alt.Tooltip("n:Q", title="Samples"),
            alt.Tooltip("confidence:Q", title="Mean probability", format=".1%"),
            alt.Tooltip("accuracy:Q", title="Right", format=".1%"),
            alt.Tooltip("low:Q", title="Interval from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    rule = base.mark_rule(aria=False, color=BLUE, strokeWidth=2).encode(
        y=alt.Y("low:Q", title=title, scale=unit, axis=axis), y2="high:Q"
    )
    line = base.mark_line(aria=False, color=BLUE, opacity=0.5).encode(y=y)
    point = base.mark_point(aria=False, filled=True, color=BLUE, size=70, opacity=1).encode(y=y)
    ends = _chance(alt.X("x:Q", scale=unit), alt.Y("y:Q", scale=unit, title=title))
    return finish(ends + rule + line + point, SQUARE, rows=rows, ends=_DIAGONAL)
