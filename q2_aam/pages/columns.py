"""The page of evaluate-columns: several numeric columns, each predicted by a model of its own."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from q2_aam.core.evaluation.differences import (
    ALIKE,
    BETTER,
    WORSE,
    Difference,
    regression_differences,
)
from q2_aam.core.evaluation.result_table import COVARIATES, ERROR, FOREST, PREDICTED, TRUE
from q2_aam.core.evaluation.scores import Score, regression_scores
from q2_aam.pages import baselines, charts, samples
from q2_aam.pages.frame import Download, Figure, Page, Section, Table, count, interval, number

SCATTERED = 20
"""Columns that have a chart of their samples."""

HEAD = ["Column", "Samples", "R²", "95% interval", "MAE", "95% interval", "MAE of the median"]
PREFIXES = {baselines.FOREST: FOREST, baselines.COVARIATES: COVARIATES}
"""How the names begin of the columns that have the predictions of a baseline."""
SAID = {BETTER: "better", WORSE: "worse", ALIKE: "no better"}


def page(tables: dict[str, pd.DataFrame], seed: int) -> Page:
    """Compose the page.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By column. By sample id: 'true_value', 'prediction' and 'error', and of baselines to
        compare with 'forest_prediction' and 'covariates_prediction'.
    seed : int
    """
    scores = {
        name: regression_scores(table[TRUE], table[PREDICTED], seed)
        for name, table in tables.items()
    }
    compared = [each for made in PREFIXES if (each := _compare(made, tables, seed)).scores]
    few = [name for name, table in tables.items() if len(table) < samples.FEW_SAMPLES]
    notes = []
    if few:
        notes.append(
            f"{count(len(few), 'column')} with fewer than {samples.FEW_SAMPLES} samples "
            f"({', '.join(few[:5])}{', …' * (len(few) > 5)}): their scores and intervals say "
            "little."
        )
    beside = [_beside(each, scores) for each in compared]
    return Page(
        f"Predictions of {count(len(tables), 'column')}",
        [_lead(scores), *map(_baseline_lead, compared)],
        [_scores(tables, scores), *beside, _samples(tables, seed)],
        notes,
        {"scores.tsv": Download(_frame(tables, scores, compared), "the scores of each column")},
    )


@dataclass(frozen=True)
class _Comparison:
    """A baseline by its name: for each column its scores, and the difference in MAE."""

    name: str
    scores: dict[str, dict[str, Score]]
    differences: dict[str, Difference]


def _compare(name: str, tables, seed: int) -> _Comparison:
    made, found = f"{PREFIXES[name]}{PREDICTED}", _Comparison(name, {}, {})
    for column, table in tables.items():
        if made in table:
            true, predicted, other = table[TRUE], table[PREDICTED], table[made]
            found.scores[column] = regression_scores(true, other, seed)
            difference = regression_differences(true, predicted, other, seed)["mae"]
            found.differences[column] = difference
    return found


def _lead(scores: dict[str, dict[str, Score]]) -> str:
    clear = [name for name, found in scores.items() if found["r2"].low > 0]
    if not clear:
        return "No column is clearly predicted better than by its mean (R² above 0)."
    listed = ", ".join(clear[:10]) + ", …" * (len(clear) > 10)
    return (
        f"{len(clear)} of {count(len(scores), 'column')} are clearly predicted better than by "
        f"their means (the 95% interval of R² is above 0): {listed}."
    )


def _baseline_lead(compared: _Comparison) -> str:
    verdicts = [found.verdict("mae") for found in compared.differences.values()]
    return (
        f"The model is better than the {compared.name} in {verdicts.count(BETTER)} of "
        f"{count(len(verdicts), 'column')}, worse in {verdicts.count(WORSE)}, and no better, as "
        f"far as these samples show, in {verdicts.count(ALIKE)} (by the mean absolute error)."
    )


def _scores(tables, scores) -> Section:
    rows = []
    for name, found in scores.items():
        r2, mae = found["r2"], found["mae"]
        row = [name, f"{len(tables[name]):,}", number(r2.value), interval(r2.low, r2.high),
               number(mae.value), interval(mae.low, mae.high), number(mae.baseline)]  # fmt: skip
        rows.append(row)
    text = (
        "MAE is the mean absolute error, in the units of each column. R² can be compared between "
        f"columns; errors cannot. {samples.INTERVALS}"
    )
    table = Table("Scores of each column", HEAD, rows)
    return Section("Scores", [text], [_figure(tables, scores)], [table])


def _beside(compared: _Comparison, scores) -> Section:
    name, rows = compared.name, []
    for column, other in compared.scores.items():
        own, difference = scores[column], compared.differences[column]
        rows.append(
            [
                column,
                number(own["r2"].value),
                number(other["r2"].value),
                number(own["mae"].value),
                number(other["mae"].value),
                number(difference.value),
                interval(difference.low, difference.high),
                SAID[difference.verdict("mae")],
            ]
        )
    head = ["Column", "R²", f"R², {name}", "MAE", f"MAE, {name}", "Difference in MAE",
            "95% interval", "The model is"]  # fmt: skip
    text = [baselines.TEXT.format(name=name), baselines.MORE[name]]
    table = Table(f"Each column by the model and by the {name}", head, rows)
    return Section(f"Beside the {name}", text, tables=[table])


def _figure(tables, scores) -> Figure:
    defined = [name for name, found in scores.items() if not np.isnan(found["r2"].value)]
    r2 = [scores[name]["r2"] for name in defined]
    rows = charts.records(
        group=defined,
        value=[s.value for s in r2],
        low=[s.low for s in r2],
        high=[s.high for s in r2],
        baseline=[s.baseline for s in r2],
        n=[len(tables[name]) for name in defined],
    )
    said = "The blue point is R² with its 95% interval. The upright red mark is that of the mean."
    return Figure("R² of each column", charts.group_scores(rows, "R² (1 is perfect)"), said)


def _samples(tables, seed: int) -> Section:
    figures = []
    for name, table in list(tables.items())[:SCATTERED]:
        shown = table.iloc[samples.drawn(len(table), seed)]
        points = charts.records(
            sample=shown.index,
            true=shown[TRUE],
            predicted=shown[PREDICTED],
            residual=shown[ERROR],
            group=[""] * len(shown),
        )
        low, high = np.percentile(table[ERROR], [2.5, 97.5])
        values = table[[TRUE, PREDICTED]].to_numpy()
        at = np.array([values.min(), values.max()])
        band = charts.records(at=at, low=at + low, high=at + high)
        said = (
            "On the dashed line, predictions would be exact. The grey band holds 95% of the "
            f"samples.{samples.how_many(len(table))}"
        )
        spec = charts.predicted_against_true(points, band, [], name)
        figures.append(Figure(f"Predicted against true {name}", spec, said))
    left_out = len(tables) - len(figures)
    text = [f"Shown are the first {SCATTERED} of {len(tables)} columns."] if left_out else []
    return Section("Samples", text, figures)


def _frame(tables, scores, compared) -> pd.DataFrame:
    rows = [
        (name, len(tables[name]), made, key, s.value, s.low, s.high, s.baseline)
        for made, of_all in (("model", scores), *((each.name, each.scores) for each in compared))
        for name, found in of_all.items()
        for key, s in found.items()
    ]
    names = [
        "column",
        "samples",
        "made by",
        "score",
        "value",
        "low",
        "high",
        "constant prediction",
    ]
    return pd.DataFrame(rows, columns=names).set_index("column")
