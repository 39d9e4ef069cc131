"""What the page of evaluate-regression says of predicted intervals."""

import pandas as pd

from q2_aam.core.evaluation import interval_coverage
from q2_aam.core.evaluation.classification_curves import wilson
from q2_aam.core.options import quantile_levels
from q2_aam.pages import samples
from q2_aam.pages.frame import Section, Table, count, number

NEARLY = 0.01
"""Share of an interval's width by which its median may differ from the prediction by rounding."""


def of_samples(intervals: pd.DataFrame, sample_ids: pd.Index) -> pd.DataFrame:
    """Return the quantiles of these samples.

    Raises
    ------
    ValueError
        If a sample has none, or the columns are no quantiles.
    """
    try:
        quantile_levels.levels_of(intervals.columns)
    except ValueError as error:
        raise ValueError(
            f"The intervals have the columns {', '.join(map(str, intervals.columns[:5]))}, which "
            "are not named after quantiles; give the output of predict-intervals."
        ) from error
    absent = sample_ids.difference(intervals.index)
    if len(absent):
        raise ValueError(
            f"{len(absent)} of the {len(sample_ids)} predicted samples, such as '{absent[0]}', "
            "have no intervals; give predictions and intervals of the same table and model."
        )
    return intervals.loc[sample_ids]


def notes(table: pd.DataFrame, intervals: pd.DataFrame, column: str) -> list[str]:
    """Warn of intervals of another model than the predictions, or of another column."""
    return _of_another_model(table, intervals) + _of_another_column(table, intervals, column)


def _of_another_column(table: pd.DataFrame, intervals: pd.DataFrame, column: str) -> list[str]:
    within = table["true"].between(intervals.iloc[:, 0], intervals.iloc[:, -1])
    if len(table) < samples.MANY_APART or within.any():
        return []
    return [f"No true value lies in the interval of its sample. {samples.right_column(column)}"]


def _of_another_model(table: pd.DataFrame, intervals: pd.DataFrame) -> list[str]:
    median = intervals[quantile_levels.names((quantile_levels.MEDIAN,))[0]]
    width = (intervals.iloc[:, -1] - intervals.iloc[:, 0]).mean()
    apart = int(((median - table["predicted"]).abs() > NEARLY * width).sum())
    if not apart:
        return []
    return [
        f"In {count(apart, 'sample')} the median of the intervals is not the prediction: "
        "intervals and predictions seem to be of different models."
    ]


def coverage(table: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """Compare what the intervals promise with what they hold; see `interval_coverage.coverage`."""
    levels = quantile_levels.levels_of(intervals.columns)
    return interval_coverage.coverage(intervals.to_numpy(), table["true"].to_numpy(), levels)


def lead(held: pd.DataFrame) -> str:
    """Say in a sentence how well the outermost interval holds."""
    widest = held.iloc[0]
    return (
        f"{widest['covered']:.1%} of the true values lie in their predicted intervals; "
        f"{_percent(widest['nominal'])} is promised; the intervals are "
        f"{number(widest['mean_width'])} wide on average."
    )


def section(table: pd.DataFrame, intervals: pd.DataFrame, held: pd.DataFrame) -> Section:
    """Show how well intervals and quantiles hold, for all samples and for groups."""
    text = (
        "An interval lies between two predicted quantiles of a sample. The quantiles promise "
        "which share of the true values lies in it: 90%, for example, between 0.05 and 0.95. The "
        "promise holds for samples of the same kind as the training samples, all together. In a "
        "single group, the share may be higher or lower. Each share has its 95% interval "
        "(Wilson)."
    )
    tables = [_intervals(held, len(table)), _quantiles(table, intervals)]
    if "group" in table:
        tables.append(_groups(table, intervals))
    return Section("Intervals", [text], tables=tables)


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _share(share: float, n: int) -> list[str]:
    low, high = wilson(share, n)
    return [f"{share:.1%}", f"{low:.1%} to {high:.1%}"]


def _intervals(held: pd.DataFrame, n: int) -> Table:
    rows = [
        [
            f"{row['low']:g} to {row['high']:g}",
            _percent(row["nominal"]),
            *_share(row["covered"], n),
            f"{row['below']:.1%}",
            f"{row['above']:.1%}",
            number(row["mean_width"]),
            number(row["median_width"]),
        ]
        for _, row in held.iterrows()
    ]
    columns = ["Quantiles", "Promised", "Within", "95% interval", "Below", "Above", "Mean width",
               "Median width"]  # fmt: skip
    return Table("True values within the predicted intervals", columns, rows)


def _quantiles(table: pd.DataFrame, intervals: pd.DataFrame) -> Table:
    rows = []
    for level, name in zip(
        quantile_levels.levels_of(intervals.columns), intervals.columns, strict=True
    ):
        share = float((table["true"] <= intervals[name]).mean())
        rows.append([f"{level:g}", *_share(share, len(table))])
    columns = ["Quantile", "True values below it", "95% interval"]
    return Table("True values below each quantile", columns, rows, collapsed=True)


def _groups(table: pd.DataFrame, intervals: pd.DataFrame) -> Table:
    low, high = intervals.iloc[:, 0], intervals.iloc[:, -1]
    each = pd.DataFrame({"within": table["true"].between(low, high), "width": high - low})
    found = each.groupby(table["group"]).agg(["mean", "size"])
    found = found.sort_index().sort_values(("within", "size"), ascending=False, kind="stable")
    rows = [
        [str(name), f"{n:,}", *_share(share, n), number(width)]
        for name, share, n, width in zip(
            found.index,
            found["within", "mean"],
            found["within", "size"],
            found["width", "mean"],
            strict=True,
        )
    ]
    columns = ["Group", "Samples", "Within", "95% interval", "Mean width"]
    return Table("True values within the outermost interval, by group", columns, rows)
