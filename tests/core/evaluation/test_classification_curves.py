"""Curves of a classification: what they hold, and the areas under them."""

import numpy as np
import pytest
from sklearn import metrics

from q2_aam.core.evaluation import classification_curves


def test_calibration_bins_hold_every_sample():
    rng = np.random.default_rng(0)
    confidence = np.append(rng.uniform(0.2, 1, size=200), [1.0, 0.5])
    correct = rng.uniform(size=202) < confidence
    table = classification_curves.calibration(confidence, correct)
    assert table["n"].sum() == 202
    assert ((table["confidence"] >= table["least"]) & (table["confidence"] <= table["most"])).all()
    assert ((table["low"] < table["accuracy"]) | (table["accuracy"] == 0)).all()
    assert (table["high"] <= 1 + 1e-12).all()


def test_curves_have_the_areas_of_scikit_learn():
    rng = np.random.default_rng(0)
    chance = rng.uniform(size=90).round(1)
    is_class = rng.uniform(size=90) < chance
    roc = classification_curves.roc_curve(is_class, chance)
    area = metrics.auc(roc["false_positive_rate"], roc["true_positive_rate"])
    assert area == pytest.approx(metrics.roc_auc_score(is_class, chance))
    curve = classification_curves.precision_recall_curve(is_class, chance)
    steps = np.diff(curve["recall"]) @ curve["precision"].iloc[1:]
    assert steps == pytest.approx(metrics.average_precision_score(is_class, chance))


def test_curves_of_many_samples_are_thinned():
    rng = np.random.default_rng(0)
    chance = rng.uniform(size=5000)
    is_class = rng.uniform(size=5000) < chance
    for curve in classification_curves.roc_curve, classification_curves.precision_recall_curve:
        table = curve(is_class, chance, points=50)
        assert 40 <= len(table) <= 52
        # No step is longer than two even ones, unless the curve jumps.
        assert table.diff().abs().sum(axis=1).max() < 0.2
        assert table.iloc[0, 0] == 0
        assert table.iloc[-1, 0] == 1
