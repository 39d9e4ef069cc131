"""What is said of folds before anything is trained."""

import logging

import numpy as np
import pandas as pd
import pytest

from q2_aam.actions.fold_checks import KnownSamples, tell_of_many, tell_of_time, trainable_folds
from q2_aam.core.options.config import ClassificationConfig, RegressionConfig, Settings

IDS = [f"s{i}" for i in range(12)]
FOLDS = pd.Series(["a"] * 4 + ["b"] * 4 + ["c"] * 4, IDS)


def known(values, groups=None, depths=100, **options):
    config = ClassificationConfig if isinstance(values[0], str) else RegressionConfig
    settings = Settings.from_options({"rarefy_depth": 50, **options}, config)
    if groups is not None:
        groups = pd.Series(list(groups), IDS, name="person")
    depths = pd.Series(depths, IDS)
    return KnownSamples(pd.Series(list(values), IDS, name="site"), groups, depths, settings)


def test_folds_that_can_be_trained():
    assert trainable_folds(known("xyxyxyxyxyxy"), FOLDS, "error") == ["a", "b", "c"]


def test_all_folds_without_a_second_class_are_listed_in_one_message():
    only_in_a = known("xyxyxxxxxxxx")
    with pytest.raises(ValueError, match=r"1 of 3 folds .*Fold 'a': .*only one class \('x'\)"):
        trainable_folds(only_in_a, FOLDS, "error")
    other = known("xxxxyyyyyyyy", test_size=0.0)
    two = pd.Series(["a"] * 4 + ["b"] * 8, IDS)
    with pytest.raises(ValueError, match=r"2 of 2.*Fold 'a': .*'y'.*Fold 'b': .*'x'.*other folds"):
        trainable_folds(other, two, "ignore")


def test_untrainable_folds_can_be_left_out(caplog):
    assert trainable_folds(known("xyxyxxxxxxxx"), FOLDS, "ignore") == ["b", "c"]
    assert "Fold 'a'" in caplog.text


UNTRAINABLE = {
    "constant": (known([1.0, 2.0, 3.0, 4.0, *[5.0] * 8]), r"same value \(5\)"),
    "negative": (
        known([1.0, 2.0, 3.0, 4.0, -1.0, *[5.0] * 3, *[6.0] * 4], target_transform="log-zscore"),
        "has negative values",
    ),
    "shallow": (
        known("xyxyxyxyxyxy", depths=[100] * 4 + [100, 9, 9, 9] + [9, 100, 9, 9]),
        r"Fold 'a': Only 2 of 8 training samples have 50 reads",
    ),
    "lost-class": (
        known("xyxyxxxyxxxy", depths=[100] * 7 + [9] + [100] * 3 + [9]),
        r"Fold 'a': .*only one class \('x'\)",
    ),
    "one-group": (known("xyxyxyxyxyxy", groups="123455555555"), "of one group"),
    "no-reads": (known("xyxyxyxyxyxy", depths=[0] * 4 + [100] * 8), "no reads"),
}


@pytest.mark.parametrize("case", UNTRAINABLE)
def test_other_folds_that_cannot_be_trained(case):
    samples, said = UNTRAINABLE[case]
    with pytest.raises(ValueError, match=said):
        trainable_folds(samples, FOLDS, "error")


def test_the_time_of_many_folds_is_told(caplog):
    caplog.set_level(logging.INFO)
    tell_of_many(5, 100)
    tell_of_time(0.1, 500)  # of an action that returns a promise
    assert not caplog.records
    tell_of_many(137, 274)
    assert "137 models are trained" in caplog.text
    tell_of_time(90.0, 137)
    assert "took 90 seconds. All folds will take about 3.4 hours" in caplog.text
    assert np.unique([record.levelname for record in caplog.records]).tolist() == ["WARNING"]
