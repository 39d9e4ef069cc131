import logging

import numpy as np
import pandas as pd
import pytest
import torch

from q2_aam.core import api
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.model import inference
from q2_aam.core.training.loop import lightning_module
from q2_aam.core.training.objective.candidates import TrainingSamples


@pytest.fixture(scope="module")
def options():
    return {
        "embedding_dim": 16,
        "attention_heads": 2,
        "attention_layers": 1,
        "epochs": 2,
        "rarefy_depth": 100,
        "lr": 1e-3,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def encoder(simulated, tree_path, options):
    return api.pretrain(simulated.table, tree_path, **options)


@pytest.fixture(scope="module")
def regressor(simulated, encoder, options):
    return api.train_regressor(
        simulated.table, simulated.metadata["age"], encoder=encoder, **options
    )


@pytest.fixture(scope="module")
def classifier(simulated, encoder, options):
    site = simulated.metadata["site"]
    return api.train_classifier(simulated.table, site, encoder=encoder, **options)


def weights_equal(a, b):
    return all(torch.equal(value, b.weights[name]) for name, value in a.weights.items())


def test_pretrain_same_seed_same_weights(simulated, tree_path, options, encoder):
    assert weights_equal(encoder, api.pretrain(simulated.table, tree_path, **options))


def test_pretrain_other_seed_other_weights(simulated, tree_path, options, encoder):
    other = api.pretrain(simulated.table, tree_path, random_seed=1, **options)
    assert not weights_equal(encoder, other)


def test_pretrain_leaves_the_random_state_of_the_session(simulated, tree_path, options):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    api.pretrain(simulated.table, tree_path, **options)
    assert torch.equal(expected, torch.rand(3))


def test_pretrain_history_has_every_epoch_and_loss(encoder):
    assert encoder.history["epoch"].tolist() == [1, 2]
    for stage in ("train", "val"):
        for term in ("total_loss", "unifrac_loss", "nuc_loss", "nuc_accuracy"):
            assert np.isfinite(encoder.history[f"{stage}/{term}"]).all()


def test_pretrain_total_is_the_weighted_sum(simulated, tree_path, options):
    made = api.pretrain(simulated.table, tree_path, penalty=0.5, nuc_penalty=3.0, **options)
    history = made.history
    for stage in ("train", "val"):
        total = 0.5 * history[f"{stage}/unifrac_loss"] + 3 * history[f"{stage}/nuc_loss"]
        assert np.allclose(history[f"{stage}/total_loss"], total, rtol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"stripe_mode": False},
        {"stripe_mode": False, "lazy_unifrac": False},
        {"lazy_unifrac": False},
        {"unifrac_metric": "weighted_normalized"},
        {"unifrac_metric": "faith_pd"},
        {"batch_size": 1},
        {"batch_size": 7, "reference_samples": 3},
        {"rarefy_each_epoch": True},
        {"prune_tree": False},
        {"test_size": 0.0},
        {"rarefy_depth": 0},
        {"nuc_mask_ratio": 0.0},
        {"nuc_penalty": 0.0},
        {"gradient_accumulation_steps": 3},
        {"max_grad_norm": 0.5},
        {"mixed_precision": "bf16"},
        {"num_workers": 1},
    ],
    ids=lambda changed: "-".join(f"{k}={v}" for k, v in changed.items()),
)
def test_pretrain_every_mode_trains(simulated, tree_path, options, encoder, changed):
    made = api.pretrain(simulated.table, tree_path, **{**options, **changed})
    assert all(value.isfinite().all() for value in made.weights.values())
    assert np.isfinite(made.history["train/total_loss"]).all()
    if "num_workers" in changed or ("lazy_unifrac" in changed and len(changed) == 1):
        assert weights_equal(made, encoder)
    elif "prune_tree" not in changed:
        assert not weights_equal(made, encoder)


def test_pretrain_lazy_or_not_gives_the_same_losses(simulated, tree_path, options):
    pairs = {**options, "stripe_mode": False}
    a = api.pretrain(simulated.table, tree_path, **pairs)
    b = api.pretrain(simulated.table, tree_path, lazy_unifrac=False, **pairs)
    assert np.allclose(a.history["train/unifrac_loss"], b.history["train/unifrac_loss"], rtol=1e-3)


def test_pretrain_continues_from_an_encoder(simulated, tree_path, options, encoder):
    standing = {**options, "lr": 1e-12, "epochs": 1}
    more = api.pretrain(simulated.table, tree_path, encoder=encoder, **standing)
    best = encoder.history["val/total_loss"].min()
    assert more.history["val/total_loss"].iloc[0] == pytest.approx(best, rel=1e-4)
    assert more.spec.model == encoder.spec.model


def test_pretrain_refuses_another_architecture_than_the_encoders(
    simulated, tree_path, options, encoder
):
    with pytest.raises(ValueError, match=r"embedding_dim is 32, but the encoder's is 16"):
        api.pretrain(
            simulated.table, tree_path, encoder=encoder, **{**options, "embedding_dim": 32}
        )


def test_pretrain_names_references_that_are_not_there(simulated, tree_path, options):
    with pytest.raises(ValueError, match=r"2 of 3 reference samples .*: nobody, nothing"):
        api.pretrain(
            simulated.table,
            tree_path,
            reference_ids=["nobody", "nothing", "sample01"],
            **{**options, "test_size": 0.0},
        )


def test_pretrain_uses_named_references(simulated, tree_path, options, encoder):
    names = list(simulated.metadata.index[:20])
    made = api.pretrain(
        simulated.table, tree_path, reference_ids=names, **{**options, "test_size": 0.0}
    )
    assert np.isfinite(made.history["train/unifrac_loss"]).all()
    assert not weights_equal(made, encoder)


def test_best_epoch_is_restored(simulated, tree_path, options):
    """With a learning rate that ruins the model, an early epoch is best and is what is kept."""
    ruinous = {**options, "lr": 0.3, "scheduler": "cosine", "warmup_steps": 0, "epochs": 5}
    runs = (api.pretrain(simulated.table, tree_path, **ruinous, random_seed=n) for n in range(9))
    # Not every course ends worse than it was: take the first seed whose course does.
    made = next(run for run in runs if not _ends_best(run.history["val/total_loss"]))
    losses = made.history["val/total_loss"]
    standing = {**options, "lr": 1e-12, "epochs": 1, "random_seed": made.spec.training.random_seed}
    again = api.pretrain(simulated.table, tree_path, encoder=made, **standing)
    assert again.history["val/total_loss"].iloc[0] == pytest.approx(losses.min(), rel=1e-4)


def _ends_best(losses):
    return losses.iloc[-1] == losses.min()


def test_a_loss_that_is_no_number_stops_the_run(simulated, tree_path, options):
    ruinous = {**options, "lr": 10.0, "optimizer": "sgd", "warmup_steps": 0, "epochs": 20}
    ruinous["max_grad_norm"] = 0.0
    with pytest.raises(ValueError, match=r"became \w+ at step \d+ .* on the samples sample\d\d"):
        api.pretrain(simulated.table, tree_path, **ruinous)


def test_patience_stops_early(simulated, tree_path, options):
    still = {**options, "lr": 1e-12, "epochs": 10, "patience": 2}
    made = api.pretrain(simulated.table, tree_path, **still)
    assert len(made.history) < 10


def test_freeze_base_keeps_the_encoder(simulated, options, encoder):
    made = api.train_regressor(
        simulated.table, simulated.metadata["age"], encoder=encoder, freeze_base=True, **options
    )
    for name, value in encoder.weights.items():
        assert torch.equal(value, made.weights[f"base_model.{name}"])
    assert "train/nuc_loss" not in made.history


@pytest.mark.parametrize(("freeze", "times"), [(True, 2), (False, 3)])
def test_freeze_base_encodes_asvs_once(simulated, options, encoder, monkeypatch, freeze, times):
    """Once for training and once for validation; an encoder that learns, at every validation."""
    encoded = []

    def counted(*arguments, **named):
        encoded.append(arguments[1])
        return inference.encode_asvs(*arguments, **named)

    monkeypatch.setattr(lightning_module, "encode_asvs", counted)
    api.train_regressor(
        simulated.table, simulated.metadata["age"], encoder=encoder, freeze_base=freeze,
        **{**options, "epochs": 3, "stored_samples": 0},
    )  # fmt: skip
    assert len(encoded) == times


@pytest.mark.parametrize(("freeze", "times"), [(True, 1), (False, 3)])
def test_candidates_are_encoded_at_every_epoch_if_the_encoder_learns(
    simulated, options, encoder, monkeypatch, freeze, times
):
    encoded, original = [], TrainingSamples.encode

    def counted(self, *arguments):
        encoded.append(self)
        return original(self, *arguments)

    monkeypatch.setattr(TrainingSamples, "encode", counted)
    api.train_regressor(
        simulated.table, simulated.metadata["age"], encoder=encoder, freeze_base=freeze,
        **{**options, "epochs": 3},
    )  # fmt: skip
    assert len(encoded) == times


def test_freeze_base_knows_asvs_that_only_later_draws_have(simulated, options, encoder):
    made = api.train_regressor(
        simulated.table, simulated.metadata["age"], encoder=encoder, freeze_base=True,
        phylogeny=None, rarefy_each_epoch=True, **{**options, "rarefy_depth": 20, "epochs": 3},
    )  # fmt: skip
    assert np.isfinite(made.history["train/target_loss"]).all()


def test_a_frozen_encoder_encodes_asvs_once_though_reads_are_drawn_anew(
    simulated, options, encoder, monkeypatch
):
    encoded, original = [], inference.encode_asvs

    def counted(*arguments, unseen=False):
        encoded.append(unseen)
        return original(*arguments, unseen=unseen)

    monkeypatch.setattr(inference, "encode_asvs", counted)
    drawn = {"rarefy_depth": 20, "epochs": 3, "test_size": 0.0}
    api.train_regressor(
        simulated.table, simulated.metadata["age"], encoder=encoder, freeze_base=True,
        rarefy_each_epoch=True, **{**options, **drawn},
    )  # fmt: skip
    assert encoded.count(True) == 1


def test_freeze_base_learns_nothing_of_the_phylogeny(
    simulated, tree_path, options, encoder, caplog
):
    caplog.set_level(logging.INFO)
    frozen = {**options, "encoder": encoder, "freeze_base": True}
    age = simulated.metadata["age"]
    without = api.train_regressor(simulated.table, age, **frozen)
    with_it = api.train_regressor(simulated.table, age, phylogeny=tree_path, **frozen)
    assert "learns nothing of the phylogeny" in caplog.text
    assert list(with_it.history) == list(without.history)
    assert weights_equal(with_it, without)


def test_training_without_freeze_changes_the_encoder(encoder, regressor):
    name = "asv_encoder.position"
    assert not torch.equal(encoder.weights[name], regressor.weights[f"base_model.{name}"])


def test_freeze_base_needs_an_encoder(simulated, options):
    with pytest.raises(ValueError, match="an encoder must be given"):
        api.train_regressor(
            simulated.table, simulated.metadata["age"], freeze_base=True, **options
        )


def test_train_from_a_predictor_takes_its_encoder(simulated, options, regressor):
    made = api.train_classifier(
        simulated.table,
        simulated.metadata["site"],
        encoder=regressor,
        freeze_base=True,
        **options,
    )
    name = "base_model.asv_encoder.position"
    assert torch.equal(made.weights[name], regressor.weights[name])


def test_train_regressor_with_phylogeny_has_all_four_losses(
    simulated, tree_path, options, encoder
):
    made = api.train_regressor(
        simulated.table,
        simulated.metadata["age"],
        encoder=encoder,
        phylogeny=tree_path,
        **options,
    )
    for term in ("target", "unifrac", "nuc", "count"):
        assert np.isfinite(made.history[f"train/{term}_loss"]).all()


@pytest.mark.parametrize("transform", ["none", "minmax", "zscore", "log-minmax", "log-zscore"])
def test_predictions_are_in_the_units_of_the_column(simulated, options, encoder, transform):
    made = api.train_regressor(
        simulated.table,
        simulated.metadata["age"] * 1000,
        encoder=encoder,
        target_transform=transform,
        loss_type="mse",
        **{**options, "epochs": 1},
    )
    predicted = api.predict_regression(simulated.table, made)
    assert predicted.name == "prediction"
    assert list(predicted.index) == list(simulated.table.ids())
    if transform != "none":
        assert 5_000 < predicted.mean() < 150_000


def test_predict_on_unseen_asvs(simulated, regressor, classifier):
    other = simulate(SimulationConfig(n_samples=5, n_features=60, n_bp=40, depth=200, seed=9))
    seen = set(simulated.table.ids("observation"))
    assert not seen & set(other.table.ids("observation"))
    assert api.predict_regression(other.table, regressor).notna().all()
    predictions, probabilities = api.predict_classification(other.table, classifier)
    assert set(predictions) <= {"gut", "oral", "skin"}
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_prediction_of_a_sample_does_not_depend_on_the_others(simulated, regressor):
    together = api.predict_regression(simulated.table, regressor)
    some = simulated.table.filter(["sample07", "sample31"], inplace=False)
    alone = api.predict_regression(some.remove_empty("observation", inplace=False), regressor)
    assert np.allclose(together[alone.index], alone, atol=1e-4)


def test_predict_keeps_shallow_samples(simulated, regressor):
    thin = simulated.table.copy()
    thin = thin.transform(lambda values, name, _: np.ceil(values / 50), inplace=False)
    assert len(api.predict_regression(thin, regressor)) == thin.shape[1]


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_predict_regression_refuses_other_kinds(simulated, request, kind):
    with pytest.raises(ValueError, match="not a SequenceRegressor"):
        api.predict_regression(simulated.table, request.getfixturevalue(kind))


def test_predict_classification_refuses_a_regressor(simulated, regressor):
    with pytest.raises(ValueError, match=r"not a SequenceClassifier: use predict-regression"):
        api.predict_classification(simulated.table, regressor)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda age: age * 0 + 3, r"same value \(3\) in all"),
        (lambda age: age.astype(str) + "y", "not finite numbers"),
        (lambda age: age.where(age > 30), "have no value"),
        (lambda age: age.iloc[5:], "are not in the metadata"),
        (lambda age: age.replace(age.iloc[0], np.inf), "not finite numbers"),
        (lambda age: pd.concat([age, age.iloc[:1]]), "'sample01' twice"),
    ],
)
def test_train_regressor_refuses_metadata(simulated, options, values, message):
    with pytest.raises(ValueError, match=message):
        api.train_regressor(simulated.table, values(simulated.metadata["age"]), **options)


def test_train_regressor_can_leave_samples_without_value_out(simulated, options, caplog):
    age = simulated.metadata["age"].copy()
    age.iloc[:4] = np.nan
    made = api.train_regressor(
        simulated.table, age.iloc[:-2], missing_samples="ignore", **{**options, "test_size": 0.0}
    )
    assert made.spec.reads.n_samples == 42
    assert "4 of the table's 48 samples have no value" in caplog.text
    assert "2 of the table's 48 samples are not in the metadata" in caplog.text


def test_train_classifier_refuses_one_class(simulated, options):
    column = pd.Series("gut", index=simulated.metadata.index, name="site")
    with pytest.raises(ValueError, match=r"only one class \('gut'\)"):
        api.train_classifier(simulated.table, column, **options)


def test_all_contradictions_in_one_message(simulated, encoder):
    """What is wrong by itself, and what the encoder, or the lack of one, contradicts."""
    wrong = {"epochs": 0, "freeze_base": True, "from_scratch": True, "target_penalty": 0.0}
    with pytest.raises(ValueError, match=r"epochs .*; target_penalty .*; freeze_base keeps"):
        api.train_regressor(simulated.table, simulated.metadata["age"], **wrong)
    wrong = {"epochs": 0, "max_bp": 30, "embedding_dim": 32}
    with pytest.raises(ValueError, match=r"epochs .*; embedding_dim is 32, .*; max_bp is 30, "):
        api.train_regressor(simulated.table, simulated.metadata["age"], encoder=encoder, **wrong)


def test_all_wrong_options_in_one_message(simulated, tree_path):
    with pytest.raises(ValueError, match=r"epochs .*; lr .*; .*optimizer") as caught:
        api.pretrain(simulated.table, tree_path, epochs=0, lr=-1.0, optimizer="magic")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rarefy_each_epoch": True, "lazy_unifrac": False}, "lazy_unifrac must be on"),
        ({"stripe_mode": False, "batch_size": 1}, "batch_size must be at least 2"),
        ({"scheduler": "plateau", "test_size": 0.0}, "test_size must be above 0"),
        ({"penalty": 0.0, "nuc_penalty": 0.0}, "nothing to learn"),
        ({"embedding_dim": 30}, "multiple of attention_heads"),
        ({"embeding_dim": 32}, "there is no option 'embeding_dim'"),
    ],
)
def test_contradictions_are_refused_before_training(simulated, tree_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        api.pretrain(simulated.table, tree_path, **wrong)


def test_few_samples_are_warned_of(simulated, options, caplog):
    api.train_classifier(simulated.table, simulated.metadata["site"], **{**options, "epochs": 1})
    assert "below 50" in caplog.text
    assert "below 10" in caplog.text or "Class" not in caplog.text
