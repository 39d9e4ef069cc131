import numpy as np
import pandas as pd
import pytest

from q2_aam.core.data.splits.roles import FEW_READS, NO_VALUE, roles_table
from q2_aam.core.evaluation.result_table import (
    Study,
    classification_table,
    regression_table,
    roles_together,
)

IDS = list("abcdefgh")
AGE = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0, np.nan, 7.0], IDS[:7], name="age")
PREDICTED = pd.Series([1.5, 1.0], ["a", "b"])
ROLES = roles_table("cd", "e", {"g": FEW_READS})
READS = pd.Series([9, 9, 9, 9, 9, 9, 9, 9, 0], [*IDS, "i"])


def test_numbers_beside_each_other():
    table = regression_table(PREDICTED, Study(AGE), "age_")
    assert list(table.columns) == ["age_true_value", "age_prediction", "age_error"]
    assert table.index.name == "sample-id"
    assert table.loc["a"].tolist() == [1.0, 1.5, 0.5]
    assert table.loc["b"].tolist() == [2.0, 1.0, -1.0]
    assert len(table) == 2


def test_all_samples_of_a_study_with_their_roles():
    groups = pd.Series(["x", "y"], ["a", "c"], name="fold")
    table = regression_table(PREDICTED, Study(AGE, [ROLES], READS, groups), "")
    assert list(table.index) == [*"abcdegfhi"]
    assert table["role"].tolist() == [
        "test", "test", "training", "training", "validation", *["left out"] * 4,
    ]  # fmt: skip
    reasons = table["reason"].dropna().to_dict()
    assert reasons == {
        "g": "fewer reads than rarefy_depth",
        "f": "no value",
        "h": "not in the metadata",
        "i": "no reads",
    }
    assert table["fold"].dropna().to_dict() == {"a": "x", "c": "y"}
    assert table["prediction"].dropna().to_dict() == PREDICTED.to_dict()
    assert table["true_value"].dropna().to_dict() == AGE.dropna().to_dict()


def test_samples_that_nothing_used_are_told():
    study = Study(AGE, [roles_table("cd", "e", {})], READS)
    assert regression_table(PREDICTED, study, "")["reason"]["g"] == "not used"


def test_a_sample_that_was_trained_on_is_no_test_sample():
    table = regression_table(PREDICTED, Study(AGE, [roles_table("a", "b", {})]), "")
    assert table["role"].tolist() == ["training", "validation"]


def test_a_sample_that_a_fold_has_not_seen_is_a_test_sample():
    folds = [roles_table("bc", "", {}), roles_table("", "a", {"c": NO_VALUE})]
    table = regression_table(PREDICTED, Study(AGE, folds), "")
    assert table["role"].to_dict() == {"a": "test", "b": "test", "c": "training"}
    assert table["reason"].isna().all()
    everywhere = [roles_table("ab", "", {}), roles_table("b", "a", {})]
    table = regression_table(PREDICTED, Study(AGE, everywhere), "")
    assert table["role"].to_dict() == {"a": "training", "b": "training"}


def test_an_ensemble_has_seen_what_a_member_has_seen():
    members = [roles_table("ab", "c", {"d": NO_VALUE, "e": NO_VALUE}), roles_table("cd", "a", {})]
    together = roles_together(members)
    assert together["role"].to_dict() == {
        "a": "training", "b": "training", "c": "training", "d": "training", "e": "left out",
    }  # fmt: skip
    assert together["reason"]["e"] == NO_VALUE
    pd.testing.assert_frame_equal(roles_together(members[:1]), members[0])
    assert roles_together([*members, None]) is None


def test_a_model_that_does_not_say_what_it_saw_leaves_roles_open():
    table = regression_table(PREDICTED, Study(AGE, [None], READS), "")
    assert table["role"].isna().all()
    table = regression_table(PREDICTED, Study(AGE, [None, ROLES], READS), "")
    assert table["role"][["a", "b", "f", "h"]].isna().all()
    assert table["role"][["c", "e", "g"]].tolist() == ["training", "validation", "left out"]


def test_words_for_missing_values_are_none():
    words = pd.Series(["1", "n/a", "3"], list("abc"), name="age")
    table = regression_table(PREDICTED, Study(words), "")
    assert table["true_value"].tolist()[0] == 1.0
    assert np.isnan(table["true_value"]["b"])
    sites = pd.Series(["gut", "not applicable"], list("ab"), name="site")
    table = classification_table(pd.Series(["gut", "gut"], list("ab")), None, Study(sites), "")
    assert table["correct"].tolist() == ["yes", None]


def test_classes_beside_each_other():
    sites = pd.Series(["1", "0", "1"], list("abc"), name="site")
    predicted = pd.Series(["1", "1"], list("ab"))
    chances = pd.DataFrame({"0": [0.25, 0.5], "1": [0.75, 0.5]}, list("ba"))
    table = classification_table(predicted, chances, Study(sites, [ROLES]), "site_")
    assert list(table.columns) == [
        f"site_{n}"
        for n in ("true_value", "prediction", "correct", "probability", "role", "reason")
    ]
    assert table["site_correct"].tolist() == ["yes", "no", *[None] * 4]
    assert table["site_probability"].tolist()[:2] == [0.5, 0.75]
    assert table["site_prediction"].dropna().to_dict() == predicted.to_dict()


def test_a_forest_stands_beside_the_model():
    study = Study(AGE, forest=pd.Series([3.0, 4.0], ["b", "c"]))
    table = regression_table(PREDICTED, study, "age_")
    assert list(table.columns)[-1] == "age_forest_prediction"
    assert table["age_forest_prediction"].dropna().to_dict() == {"b": 3.0}
    sites = Study(pd.Series(["x"], ["a"], name="site"), forest=pd.Series(["y"], ["a"]))
    table = classification_table(pd.Series(["x"], ["a"]), None, sites, "")
    assert table["forest_prediction"].tolist() == ["y"]


def test_groups_of_the_name_of_a_column_get_another():
    groups = pd.Series(["x", "y"], ["a", "b"], name="role")
    table = regression_table(PREDICTED, Study(AGE, [ROLES], groups=groups), "")
    assert table["group"].dropna().tolist() == ["x", "y"]
    assert table["role"].tolist()[:2] == ["test", "test"]


def test_what_is_not_finite_is_missing():
    table = regression_table(pd.Series([np.inf, 1.0], ["a", "b"]), Study(AGE), "")
    assert table["prediction"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: regression_table(PREDICTED[["a", "a"]], Study(AGE), ""),
            "have sample 'a' more than once; give one",
        ),
        (
            lambda: regression_table(PREDICTED, Study(AGE[["c"]]), ""),
            "None of the 2 predicted samples, such as 'a', has a value in metadata column 'age'",
        ),
        (
            lambda: regression_table(PREDICTED, Study(AGE.astype(object).replace(1.0, "x")), ""),
            "values that are not finite numbers, such as 'x' for sample 'a'",
        ),
        (
            lambda: classification_table(
                pd.Series(["x", "z"], list("ab")),
                pd.DataFrame({"x": [1.0, 1.0]}, list("ab")),
                Study(pd.Series(["x", "x"], list("ab"), name="site")),
                "",
            ),
            "1 of the 2 predicted samples, such as 'b', have no probability",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
