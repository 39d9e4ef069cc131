"""A model beside others that predict the same samples: a sentence, a table, a file.

Baselines are named, such as 'random forest', and shown in the order in which they are given.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from q2_aam.core.evaluation.differences import ALIKE, BETTER, Difference
from q2_aam.core.evaluation.scores import Score
from q2_aam.pages.frame import Download, Section, Table, interval, number

FOREST, COVARIATES = "random forest", "covariates alone"

TEXT = (
    "Both predict the same samples. The difference is the score of the model minus that of the "
    "{name}. Its 95% interval is from bootstrap samples that both share. If zero is in the "
    "interval, these samples do not show which of the two is better."
)


MORE = {
    FOREST: "A forest that a pipeline trained has learnt from all training samples, also from "
    "those that have fewer reads than rarefy_depth, which the model left out.",
    COVARIATES: "The covariates are metadata columns that the model reads beside the table. What "
    "it predicts better than they do alone comes from the microbiome.",
}
"""What is said of a baseline beside its scores."""


@dataclass(frozen=True)
class Comparison:
    """How a baseline does, and how the model differs from it.

    Parameters
    ----------
    name : str
        Name of the baseline, in lower case.
    scores : dict of str to Score
        Of the baseline.
    differences : dict of str to Difference
        Of the model from the baseline, by the same names.
    """

    name: str
    scores: dict[str, Score]
    differences: dict[str, Difference]

    def sentence(self, model: dict[str, Score], score: str, label: str, write: Callable) -> str:
        """Say by one score whether the model is better than the baseline.

        Parameters
        ----------
        model : dict of str to Score
            Of the model.
        score, label : str
            The score that decides, and what it is called in a sentence.
        write : callable
            Writes a value of it.
        """
        found, verdict = self.differences[score], self.differences[score].verdict(score)
        instead = "against" if verdict == ALIKE else "instead of"
        said = (
            f"{label} {write(model[score].value)} {instead} {write(self.scores[score].value)} "
            f"(difference {_signed(found.value, write)}, "
            f"95% interval {_between(found, write)})."
        )
        if verdict == ALIKE:
            how = f"no better than the {self.name}, as far as these samples show"
            return f"The model is {how}: {said}"
        how = "better" if verdict == BETTER else "worse"
        return f"The model is {how} than the {self.name} on these samples: {said}"


def sections(
    comparisons: list[Comparison], model: dict[str, Score], labels: dict[str, str]
) -> list[Section]:
    """Return a section with a table of scores for each baseline."""
    return [_section(comparison, model, labels) for comparison in comparisons]


def _section(comparison: Comparison, model, labels) -> Section:
    name, rows = comparison.name, []
    for score, other in comparison.scores.items():
        own, found = model[score], comparison.differences[score]
        rows.append(
            [
                labels[score],
                number(own.value),
                interval(own.low, own.high),
                number(other.value),
                interval(other.low, other.high),
                _signed(found.value, number),
                _between(found, number),
            ]
        )
    columns = ["Score", "Model", "95% interval", name.capitalize(), "95% interval",
               "Difference", "95% interval"]  # fmt: skip
    caption = f"Scores of the model and of the {name}"
    return Section(
        f"Beside the {name}",
        [TEXT.format(name=name), *([MORE[name]] if name in MORE else [])],
        tables=[Table(caption, columns, rows)],
    )


def downloads(comparisons: list[Comparison]) -> dict[str, Download]:
    """Return the file of all comparisons; none if there are none."""
    if not comparisons:
        return {}
    rows = [
        (each.name, name, s.value, s.low, s.high, d.value, d.low, d.high)
        for each in comparisons
        for (name, s), d in zip(each.scores.items(), each.differences.values(), strict=True)
    ]
    columns = ["baseline", "score", "value", "low", "high", "model minus baseline",
               "difference low", "difference high"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns).set_index("baseline")
    meaning = f"the scores of the {' and the '.join(each.name for each in comparisons)}"
    return {"baseline-scores.tsv": Download(table, meaning)}


def _signed(value: float, write: Callable) -> str:
    """Write a difference with its sign; the minus is as wide as a plus."""
    text = write(abs(value))
    return f"−{text}" if value < 0 else f"+{text}" if value > 0 else text


def _between(found: Difference, write: Callable) -> str:
    if pd.isna(found.low):
        return "–"
    return f"{_signed(found.low, write)} to {_signed(found.high, write)}"
