"""The page of evaluate-regression."""

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import check_numbers, with_values
from q2_aam.core.evaluation.differences import check_same_samples, regression_differences
from q2_aam.core.evaluation.scores import Score, regression_scores
from q2_aam.pages import baselines as of_baselines
from q2_aam.pages import charts as charts
from q2_aam.pages import intervals as of_intervals
from q2_aam.pages import legend, samples
from q2_aam.pages.frame import Download, Figure, Page, Section, Table, count, interval, number

LABELS = {
    "r2": "R² (1 is perfect)",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
COLOURED_GROUPS = 6
CHART_GROUPS = 40
WORST = 20
THIN_LINES = " The thin upright lines are the predicted intervals of the samples."


def page(
    predictions: pd.Series,
    column: pd.Series,
    groups: pd.Series | None,
    missing: str,
    seed: int,
    intervals: pd.DataFrame | None = None,
    baselines: dict[str, pd.Series] | None = None,
) -> Page:
    """Compose the page.

    Parameters
    ----------
    predictions : pandas.Series of float
        By sample id.
    column : pandas.Series
        True values by sample id.
    groups : pandas.Series, optional
        Group names by sample id.
    missing : {'error', 'ignore'}
        What to do with predicted samples without a value.
    seed : int
    intervals : pandas.DataFrame, optional
        Quantiles by sample id, a column a quantile.
    baselines : dict of str to pandas.Series of float, optional
        Predictions of the same samples to compare with, by what made them.

    Raises
    ------
    ValueError
        If values are no finite numbers, samples lack values and may not, or
        samples have no intervals or no prediction of a baseline.
    """
    true = check_numbers(samples.true_values(predictions, column, missing, numeric=True))
    predicted = predictions.loc[true.index]
    table = pd.DataFrame({"true": true, "predicted": predicted})
    table["residual"] = table["predicted"] - table["true"]
    table["absolute"] = table["residual"].abs()
    notes = samples.notes_on(len(predictions), len(true))
    if groups is not None:
        table["group"] = with_values(list(true.index), groups, missing)
        if table["group"].isna().any():
            n = count(int(table["group"].isna().sum()), "sample")
            notes.append(f"{n} without a group: scored with all, but not by group.")
    scores = regression_scores(true, predicted, seed)
    compared = _compare(table, baselines or {}, seed)
    notes += _notes(table, scores, column.name)
    if intervals is not None:
        intervals = of_intervals.of_samples(intervals, table.index)
        notes += of_intervals.notes(table, intervals, column.name)
    beside = of_baselines.sections(compared, scores, LABELS)
    sections = [_scores(scores), *beside, _samples(table, column.name, seed, intervals)]
    lead = [_lead(scores, len(table), column.name)]
    lead += [each.sentence(scores, "mae", "mean absolute error", number) for each in compared]
    downloads = {
        "scores.tsv": Download(samples.score_frame(scores), "the scores, with intervals"),
        "samples.tsv": Download(_samples_file(table), "every sample: true, predicted, residual"),
        **of_baselines.downloads(compared),
    }
    if groups is not None:
        by_group = _score_groups(table, seed)
        sections.insert(-1, _groups(by_group, table, groups.name))
        meaning = "the scores of each group"
        downloads["group-scores.tsv"] = Download(_group_file(by_group, table), meaning)
    if intervals is not None:
        held = of_intervals.coverage(table, intervals)
        lead.append(of_intervals.lead(held))
        sections.append(of_intervals.section(table, intervals, held))
        downloads |= _interval_files(table, intervals, held)
    return Page(f"Predictions of {column.name}", lead, sections, notes, downloads)


def _compare(table: pd.DataFrame, baselines: dict[str, pd.Series], seed: int):
    """Score the baselines, and the model beside them; each becomes a column of the table."""
    compared = []
    for name, predictions in baselines.items():
        check_same_samples(name, table.index, predictions.index)
        other = table[name] = predictions.loc[table.index]
        differences = regression_differences(table["true"], table["predicted"], other, seed)
        scores = regression_scores(table["true"], other, seed)
        compared.append(of_baselines.Comparison(name, scores, differences))
    return compared


def _notes(table: pd.DataFrame, scores: dict[str, Score], column: str) -> list[str]:
    """Say where the true values seem to be of another column than the predictions."""
    true, predicted = table["true"], table["predicted"]
    if len(table) >= samples.MANY_APART and (
        predicted.max() < true.min() or predicted.min() > true.max()
    ):
        side = "below" if predicted.max() < true.min() else "above"
        return [
            f"All predictions ({interval(predicted.min(), predicted.max())}) are {side} all true "
            f"values ({interval(true.min(), true.max())}). {samples.right_column(column)}"
        ]
    if scores["r2"].high < 0:
        return [
            "These predictions are worse than predicting the mean of these samples for all. "
            f"{samples.right_column(column)}"
        ]
    return []


def _lead(scores: dict[str, Score], n: int, column: str) -> str:
    mae, r2 = scores["mae"], scores["r2"]
    return (
        f"In {count(n, 'sample')}, predictions of {column} are off by {number(mae.value)} on "
        f"average (predicting the median for all: {number(mae.baseline)}). "
        f"R² is {number(r2.value)} ({interval(r2.low, r2.high)})."
    )


def _scores(scores: dict[str, Score]) -> Section:
    text = (
        "Errors are in the units of the column. The constant prediction is the same value for "
        "every sample: the mean of these samples for R² and root mean squared error, and their "
        "median for the mean absolute error. " + samples.INTERVALS
    )
    caption = "Scores of all samples"
    return Section(
        "Scores", [text], tables=[samples.score_table(caption, scores, LABELS, "Constant")]
    )


def _samples(
    table: pd.DataFrame, column: str, seed: int, intervals: pd.DataFrame | None = None
) -> Section:
    shown = table.iloc[samples.drawn(len(table), seed)]
    groups = _coloured(table)
    if groups:
        shown = shown.dropna(subset=["group"])
        named = shown["group"].where(shown["group"].isin(groups), legend.OTHER)
    else:
        named = [""] * len(shown)
    points = charts.records(
        sample=shown.index,
        true=shown["true"],
        predicted=shown["predicted"],
        residual=shown["residual"],
        group=named,
    )
    if intervals is not None:
        ends = intervals.loc[shown.index]
        bars = charts.records(low=ends.iloc[:, 0], high=ends.iloc[:, -1])
        points = [point | bar for point, bar in zip(points, bars, strict=True)]
    low, high = np.percentile(table["residual"], [2.5, 97.5])
    scatter = Figure(
        "Predicted against true",
        charts.predicted_against_true(points, _band(table, low, high), groups, column),
        "On the dashed line, predictions would be exact. The grey band holds 95% of the "
        f"samples: from {number(low)} to {number(high)} around the line."
        f"{'' if intervals is None else THIN_LINES}{samples.how_many(len(table))}",
        legend=legend.point_keys(groups),
    )
    bias = table["residual"].mean()
    residuals = Figure(
        "Residuals against predicted",
        charts.residuals(points, groups, column),
        "Above zero, predictions are too high. On average they are too "
        f"{'high' if bias > 0 else 'low'} by {number(abs(bias))}."
        f"{samples.how_many(len(table))}",
        legend=legend.point_keys(groups),
    )
    return Section(
        "Samples",
        figures=[scatter, residuals, _histogram(table)],
        tables=[_quantiles(table), _worst(table)],
    )


def _coloured(table: pd.DataFrame) -> list[str]:
    """Name the groups that have a colour: the largest, and the others together."""
    if "group" not in table:
        return []
    sizes = table["group"].value_counts()
    more = [legend.OTHER] * (len(sizes) > COLOURED_GROUPS)
    return [*sorted(sizes.index[:COLOURED_GROUPS]), *more]


def _band(table: pd.DataFrame, low: float, high: float) -> charts.Records:
    values = table[["true", "predicted"]].to_numpy()
    at = np.array([values.min(), values.max()])
    return charts.records(at=at, low=at + low, high=at + high)


def _histogram(table: pd.DataFrame) -> Figure:
    n, edges = np.histogram(table["residual"], bins=min(40, max(5, int(len(table) ** 0.5))))
    rows = charts.records(least=edges[:-1], most=edges[1:], n=n)
    middle = np.percentile(table["residual"], [25, 75])
    return Figure(
        "Distribution of residuals",
        charts.histogram(rows, "Predicted minus true (units of the column)"),
        f"Half of the samples have a residual from {number(middle[0])} to {number(middle[1])}. "
        "The numbers are in the table below.",
    )


def _quantiles(table: pd.DataFrame) -> Table:
    shares = (0, 2.5, 25, 50, 75, 97.5, 100)
    rows = [
        [name, *map(number, np.percentile(table[key], shares))]
        for key, name in (
            ("true", "True"),
            ("predicted", "Predicted"),
            ("residual", "Residual"),
            ("absolute", "Absolute residual"),
        )
    ]
    columns = ["Percentile", "least", "2.5", "25", "median", "75", "97.5", "greatest"]
    return Table("Distribution of values and residuals", columns, rows)


def _worst(table: pd.DataFrame) -> Table:
    worst = table.sort_values("absolute", ascending=False, kind="stable").head(WORST)
    rows = [
        [str(name), number(row["true"]), number(row["predicted"]), number(row["residual"])]
        for name, row in worst.iterrows()
    ]
    caption = f"The {len(rows)} samples whose predictions are farthest off"
    return Table(caption, ["Sample", "True", "Predicted", "Residual"], rows, collapsed=True)


def _score_groups(table: pd.DataFrame, seed: int) -> dict[str, dict[str, Score]]:
    """Score each group, the largest first."""
    sizes = table["group"].value_counts()
    order = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    parts = dict(iter(table.groupby("group")))
    return {
        name: regression_scores(parts[name]["true"], parts[name]["predicted"], seed)
        for name in order
    }


def _groups(by_group, table: pd.DataFrame, column: str) -> Section:
    sizes = table["group"].value_counts()
    rows = []
    for name, scores in by_group.items():
        mae, r2 = scores["mae"], scores["r2"]
        rows.append(
            [
                name,
                f"{sizes[name]:,}",
                number(mae.value),
                interval(mae.low, mae.high),
                number(mae.baseline),
                number(r2.value),
                interval(r2.low, r2.high),
                number(scores["rmse"].value),
                number(scores["pearson"].value),
                number(scores["spearman"].value),
            ]
        )
    columns = ["Group", "Samples", "MAE", "95% interval", "MAE of the median", "R²",
               "95% interval", "RMSE", "Pearson", "Spearman"]  # fmt: skip
    text = (
        "Here, the constant prediction is the median of the group itself. A score over all "
        "samples can be high only because the groups differ. The scores within each group show "
        "whether the model predicts more than that."
    )
    table_of_groups = Table(f"Scores by {column}", columns, rows)
    return Section(f"By {column}", [text], [_group_figure(by_group, sizes)], [table_of_groups])


def _group_figure(by_group, sizes) -> Figure:
    names = list(by_group)[:CHART_GROUPS]
    maes = [by_group[name]["mae"] for name in names]
    rows = charts.records(
        group=names,
        value=[s.value for s in maes],
        low=[s.low for s in maes],
        high=[s.high for s in maes],
        baseline=[s.baseline for s in maes],
        n=[sizes[name] for name in names],
    )
    left_out = len(by_group) - len(names)
    part = f" Shown are the {CHART_GROUPS} largest groups of {len(by_group)}." if left_out else ""
    return Figure(
        "Mean absolute error of each group",
        charts.group_scores(rows, "Mean absolute error (units of the column)"),
        "The blue point is the mean absolute error with its 95% interval. The upright red mark "
        f"is the error of predicting the group's median.{part}",
    )


def _samples_file(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="absolute").rename_axis("sample-id")


def _interval_files(table, intervals, held) -> dict[str, Download]:
    everything = _samples_file(table).join(intervals)
    meaning = "every sample: true, predicted, residual, and the quantiles"
    return {
        "samples.tsv": Download(everything, meaning),
        "coverage.tsv": Download(held.set_index("low"), "how well the intervals hold"),
    }


def _group_file(by_group, table: pd.DataFrame) -> pd.DataFrame:
    sizes = table["group"].value_counts()
    rows = [
        (name, sizes[name], key, s.value, s.low, s.high, s.baseline)
        for name, scores in by_group.items()
        for key, s in scores.items()
    ]
    names = ["group", "samples", "score", "value", "low", "high", "constant prediction"]
    return pd.DataFrame(rows, columns=names).set_index("group")
