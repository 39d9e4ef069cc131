"""Which models can be an ensemble, and what they have in common."""

from dataclasses import replace

import pytest
import torch
from model_files import small_model, small_spec

from q2_aam.core.data.target import CategoricalTarget
from q2_aam.core.model.covariates import Covariates, NumericCovariate
from q2_aam.core.model.members import MAX_MEMBERS, check_members, joint_target
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.core.model.trained_model import (
    Ensemble,
    encoder_of,
    members_of,
    target_of,
    with_one_encoder,
)
from q2_aam.core.options.config import RegressionConfig

COVARIATES = Covariates((NumericCovariate("bmi", 20.0, 3.0), NumericCovariate("age", 40.0, 9.0)))
NUMBER, CLASS = small_spec(REGRESSOR), small_spec(CLASSIFIER)


def with_quantiles(quantiles):
    tuning = RegressionConfig(loss_type="quantile", quantiles=quantiles, stored_samples=0)
    return replace(NUMBER, fine_tuning=tuning)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([], "1 to 100 models, found 0"),
        ([NUMBER] * (MAX_MEMBERS + 1), "1 to 100 models, found 101"),
        ([NUMBER, small_spec(ENCODER)], "Model 2 .* is a SequenceEncoder.*train-regressor"),
        ([NUMBER, CLASS], "1 of .* numbers of column 'age', and model 2 .* classes of .*'größe'"),
        (
            [CLASS, CLASS, replace(CLASS, target=CategoricalTarget("site", ("a", "b")))],
            "column 'größe', and model 3 predicts classes of column 'site'",
        ),
        ([NUMBER, with_quantiles("0.1,0.5,0.9")], "with quantiles 0.1, 0.5, 0.9: give models"),
        ([with_quantiles("0.1,0.5,0.9"), with_quantiles("0.2,0.5,0.8")], "quantiles 0.2, 0.5"),
        ([CLASS, replace(CLASS, covariates=COVARIATES)], "'größe' from covariates age, bmi too: "),
    ],
)
def test_check_members_refuses(specs, message):
    with pytest.raises(ValueError, match=message):
        check_members(specs)


@pytest.mark.parametrize("spec", [NUMBER, CLASS, with_quantiles("0.1,0.5,0.9")])
def test_check_members_takes_models_of_one_column(spec):
    other = replace(spec, training=replace(spec.training, random_seed=7))
    check_members([spec] * (MAX_MEMBERS - 1) + [other])


def test_joint_target_has_the_classes_of_all_in_order():
    other = replace(CLASS, target=CategoricalTarget("größe", ("riesig", "groß")))
    assert joint_target([CLASS, other]) == CategoricalTarget(
        "größe", ("groß", "klein", "mittel", "riesig")
    )
    assert joint_target([NUMBER, NUMBER]) == NUMBER.target


def test_ensembles_within_ensembles_are_flattened():
    a, b, c = (small_model(REGRESSOR) for _ in range(3))
    made = Ensemble.of([Ensemble.of([a, b]), c])
    assert made.members == (a, b, c) == members_of(made)
    assert members_of(a) == (a,)
    assert target_of(made) == target_of(a) == a.spec.target


def test_encoder_of_a_model_with_covariates_has_none():
    model = small_model(REGRESSOR)
    found = encoder_of(replace(model, spec=replace(model.spec, covariates=COVARIATES)))
    assert found.spec == encoder_of(model).spec


def with_dropout(model, dropout):
    return replace(
        model, spec=replace(model.spec, model=replace(model.spec.model, dropout=dropout))
    )


def test_encoder_of_members_with_the_same_encoder():
    a = small_model(REGRESSOR)
    head = {n: v for n, v in small_model(REGRESSOR).weights.items() if "base_model" not in n}
    b = with_dropout(replace(a, weights={**a.weights, **head}), 0.3)
    found = encoder_of(Ensemble((a, b)))
    assert found.spec == encoder_of(a).spec
    assert all(torch.equal(v, encoder_of(a).weights[n]) for n, v in found.weights.items())
    assert with_one_encoder(Ensemble((a,))).spec.kind == ENCODER
    assert with_one_encoder(a) is a
    assert with_one_encoder(None) is None


def test_encoder_of_members_with_different_encoders():
    a = small_model(REGRESSOR)
    name = next(name for name in a.weights if name.startswith("base_model."))
    changed = replace(a, weights={**a.weights, name: a.weights[name] + 1})
    with pytest.raises(
        ValueError, match=r"models 1 and 3 of the ensemble differ.*one single model"
    ):
        encoder_of(Ensemble((a, a, changed)))
    heads = replace(a, spec=replace(a.spec, model=replace(a.spec.model, attention_heads=4)))
    with pytest.raises(ValueError, match="models 1 and 2 of the ensemble differ"):
        with_one_encoder(Ensemble((a, heads)))
