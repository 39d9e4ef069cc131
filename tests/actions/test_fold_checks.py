"""What is said of folds before anything is trained."""

import logging
from itertools import product

import biom
import numpy as np
import pandas as pd
import pytest

from q2_aam.actions.pipelines.fold_checks import tell_of_many, tell_of_time, trainable_folds
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.model.specification import CLASSIFIER, REGRESSOR
from q2_aam.core.training.preparation.feasibility import check_parts
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.run_settings import settings_of

NAMES = ["a", "b", "c"]


IDS = [f"s{i}" for i in range(12)]
ASVS = ["".join(bases) for bases in product("ACGT", repeat=3)]


def problems(values, groups=None, depths=100, names=NAMES, **options):
    """Find out what is wrong with folds of equal size of twelve samples of some reads."""
    counts = np.ones((4, 1)) * np.broadcast_to(depths, 12) // 4
    table = sample_table(biom.Table(counts, [10 * name for name in ASVS[:4]], IDS), None, 150)
    kind = CLASSIFIER if isinstance(values[0], str) else REGRESSOR
    settings = settings_of(kind, {"rarefy_depth": 50, **options})
    values = pd.Series(list(values), IDS, name="site")
    if groups is not None:
        groups = pd.Series(list(groups), IDS, name="person")
    inputs = RunInput(kind, settings, table, values, groups=groups)
    folds = pd.Series(np.repeat(names, 12 // len(names)), IDS)
    return check_parts(inputs, folds, names).problems


def test_folds_that_can_be_trained():
    found = problems("xyxyxyxyxyxy")
    assert trainable_folds(NAMES, found, "error") == NAMES


def test_all_folds_without_a_second_class_are_listed_in_one_message():
    found = problems("xyxyxxxxxxxx")
    with pytest.raises(ValueError, match=r"1 of 3 folds .*Fold 'a': .*only one class \('x'\)"):
        trainable_folds(NAMES, found, "error")
    two = ["a", "b"]
    found = problems("xxxxxxyyyyyy", names=two, test_size=0.0)
    with pytest.raises(ValueError, match=r"2 of 2.*Fold 'a': .*'y'.*Fold 'b': .*'x'.*other folds"):
        trainable_folds(two, found, "ignore")


def test_untrainable_folds_can_be_left_out(caplog):
    found = problems("xyxyxxxxxxxx")
    assert trainable_folds(NAMES, found, "ignore") == ["b", "c"]
    assert "Fold 'a'" in caplog.text


def test_many_reasons_are_not_all_listed():
    names = [f"f{i}" for i in range(9)]
    found = {name: f"reason {name}" for name in names[:8]}
    with pytest.raises(ValueError, match=r"8 of 9 folds .*'f4': reason f4 \(… and 3 other"):
        trainable_folds(names, found, "error")


UNTRAINABLE = {
    "constant": ([1.0, 2.0, 3.0, 4.0, *[5.0] * 8], {}, r"same value \(5\)"),
    "negative": (
        [1.0, 2.0, 3.0, 4.0, -1.0, *[5.0] * 3, *[6.0] * 4],
        {"target_transform": "log-zscore"},
        "has negative values",
    ),
    "shallow": (
        "xyxyxyxyxyxy",
        {"depths": [100] * 4 + [100, 9, 9, 9] + [9, 100, 9, 9]},
        r"leave out 6 of 8 samples",
    ),
    "lost-class": (
        "xyxyxxxyxxxy",
        {"depths": [100] * 7 + [9] + [100] * 3 + [9]},
        r"only one class \('x'\)",
    ),
    "one-group": ("xyxyxyxyxyxy", {"groups": "123455555555"}, "of one group"),
}


@pytest.mark.parametrize("case", UNTRAINABLE)
def test_other_folds_that_cannot_be_trained(case):
    values, given, said = UNTRAINABLE[case]
    with pytest.raises(ValueError, match=f"Fold 'a': .*{said}"):
        trainable_folds(NAMES, problems(values, **given), "error")


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
