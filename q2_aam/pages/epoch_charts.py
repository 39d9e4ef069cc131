"""The charts of a training by epoch: records in, Vega-Lite out."""

from collections.abc import Collection, Sequence
from typing import Any

import altair as alt

from q2_aam.pages.charts import (
    HEIGHT,
    Records,
    data_named,
    extent_scale,
    finish,
    form_scale,
    shade_scale,
    whole_ticks,
)
from q2_aam.pages.legend import DASHES, SERIES

MARKED_EPOCHS = 40


def course(rows: Records, models: Sequence[str], y_title: str) -> dict[str, Any]:
    """Draw a loss or metric by epoch, in training and validation, of one or several models.

    Parameters
    ----------
    rows : records
        Of ``epoch``, ``value``, ``series`` ('training' or 'validation'), ``model``, and ``kept``:
        whether the model is that of this epoch.
    models : sequence of str
    y_title : str
    """
    # The same colours in every chart, whether or not it has both.
    field, names = ("series", SERIES) if len(models) == 1 else ("model", models)
    epochs = {row["epoch"] for row in rows}
    base = alt.Chart(data_named("rows")).encode(
        x=_epoch_axis("epoch:Q", epochs),
        y=alt.Y("value:Q", title=y_title, scale=extent_scale(rows, "value")),
        color=alt.Color(f"{field}:N", scale=shade_scale(names), legend=None),
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("series:N", title="Samples"),
            alt.Tooltip("epoch:Q", title="Epoch"),
            alt.Tooltip("value:Q", title="Value", format=".4~g"),
        ],
    )
    lines = base.mark_line(
        aria=False, point=alt.OverlayMarkDef(size=24) if len(epochs) <= MARKED_EPOCHS else False
    ).encode(
        strokeDash=alt.StrokeDash("series:N", scale=form_scale(SERIES, DASHES), legend=None),
        detail=["model:N", "series:N"],
    )
    kept = (
        base.transform_filter("datum.kept")
        .mark_point(shape="diamond", size=110, strokeWidth=2, aria=False)
    )  # fmt: skip
    return finish(lines + kept, HEIGHT, rows=rows)


def learning_rate(rows: Records, models: Sequence[str]) -> dict[str, Any]:
    """Draw the learning rate by epoch: records of ``epoch``, ``value`` and ``model``.

    The rate of an epoch is a level line, half an epoch to either side; steps are between epochs.
    """
    epochs = {row["epoch"] for row in rows}
    levels = [
        row | {"at": row["epoch"] + side, "order": 2 * i + (side > 0)}
        for i, row in enumerate(rows)
        for side in (-0.5, 0.5)
    ]
    y = alt.Y(
        "value:Q", title="Learning rate at the end of the epoch", axis=alt.Axis(format=".1e")
    )
    color = alt.Color("model:N", scale=shade_scale(models), legend=None)
    lines = alt.Chart(data_named("levels")).mark_line(aria=False)
    lines = lines.encode(x=_epoch_axis("at:Q", epochs), y=y, color=color, order="order:Q")
    points = alt.Chart(data_named("rows")).mark_point(aria=False, filled=True, opacity=1, size=24)
    points = points.encode(
        x=_epoch_axis("epoch:Q", epochs),
        y=y,
        color=color,
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("epoch:Q", title="Epoch"),
            alt.Tooltip("value:Q", title="Learning rate", format=".3e"),
        ],
    )
    return finish(lines + points, HEIGHT, rows=rows, levels=levels)


def _epoch_axis(field: str, epochs: Collection[float]) -> alt.X:
    """Return an axis of whole epochs, each marked once, with half an epoch of room at its ends."""
    first, last = (int(f(epochs)) for f in (min, max)) if epochs else (0, 0)
    return alt.X(
        field,
        title="Epoch",
        axis=whole_ticks(first, last),
        scale=alt.Scale(domain=[first - 0.5, last + 0.5], nice=False),
    )
