"""How two predictions of the same samples differ."""

import numpy as np
import pandas as pd
import pytest

from q2_aam.core.evaluation.differences import (
    ALIKE,
    BETTER,
    WORSE,
    Difference,
    classification_differences,
    regression_differences,
)
from q2_aam.core.evaluation.scores import classification_scores, regression_scores

NAMES = ["a", "b", "c"]


def numbers(n=200, error=1.0, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=n)
    return true, true + rng.normal(0, error, n), true + rng.normal(0, 1, n)


def classes(n=120, seed=0, sure=3.0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, n)
    chances = rng.random((n, 3)) + sure * np.eye(3)[true] * (rng.random((n, 1)) < 0.7)
    chances = pd.DataFrame(chances / chances.sum(axis=1, keepdims=True), columns=NAMES)
    return [NAMES[i] for i in true], (list(chances.idxmax(axis=1)), chances)


def test_difference_is_that_of_the_scores():
    true, model, baseline = numbers()
    found = regression_differences(true, model, baseline)
    own, other = regression_scores(true, model), regression_scores(true, baseline)
    assert list(found) == list(own)
    for name, difference in found.items():
        assert difference.value == pytest.approx(own[name].value - other[name].value)
        assert difference.low < difference.value < difference.high


def test_classes_are_compared_by_their_scores():
    true, model = classes()
    _, (predicted, chances) = classes(seed=1)
    baseline = predicted, chances.iloc[:, ::-1]  # its columns need not be in the same order
    found = classification_differences(true, model, baseline)
    own, other = (classification_scores(true, *made).overall for made in (model, baseline))
    assert list(found) == list(own)
    for name, difference in found.items():
        assert difference.value == pytest.approx(own[name].value - other[name].value)


def test_a_baseline_may_know_other_classes():
    true, model = classes()
    _, (predicted, chances) = classes(seed=1)
    fewer = ["a" if name == "c" else name for name in predicted], chances[["a", "b"]]
    found = classification_differences(true, model, fewer)
    assert found["accuracy"].verdict("accuracy") == BETTER


@pytest.mark.parametrize(("error", "verdict"), [(0.3, BETTER), (1.0, ALIKE), (3.0, WORSE)])
def test_verdict_of_numbers(error, verdict):
    found = regression_differences(*numbers(error=error))
    assert {found[name].verdict(name) for name in ("mae", "rmse", "r2")} == {verdict}


def test_verdict_knows_which_scores_are_errors():
    lower = Difference(-1.0, -2.0, -0.5)
    assert [lower.verdict(name) for name in ("mae", "log_loss", "ece")] == [BETTER] * 3
    assert [lower.verdict(name) for name in ("r2", "accuracy", "macro_f1")] == [WORSE] * 3


def test_the_same_samples_are_drawn_for_both():
    """Errors that both share cancel, so the interval is far narrower than those of the scores."""
    true, model, _ = numbers(error=2.0)
    found = regression_differences(true, model, model + 0.01)["rmse"]
    own = regression_scores(true, model)["rmse"]
    assert found.high - found.low < 0.05 * (own.high - own.low)


def test_a_difference_from_itself_is_zero():
    true, model, _ = numbers()
    found = regression_differences(true, model, model)["mae"]
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.verdict("mae") == ALIKE


def test_one_sample_shows_nothing():
    found = regression_differences([1.0], [1.0], [2.0])["mae"]
    assert found.value == -1
    assert np.isnan(found.low)
    assert found.verdict("mae") == ALIKE
