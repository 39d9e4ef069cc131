"""What each option does to a whole run, and which test shows it of every option."""

import ast
from functools import partial
from pathlib import Path

import biom
import numpy as np
import pytest
import torch
from event_files import read_model, scalars
from run_inputs import inputs_of
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

from q2_aam.core import api
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.model.layers import Block
from q2_aam.core.model.tensor_shapes import SURROUNDINGS
from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RecordConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.options.option import option_infos
from q2_aam.core.training.loop import lightning_module
from q2_aam.core.training.loop.callbacks import History
from q2_aam.core.training.objective.validation_metrics import (
    ClassificationMetrics,
    RegressionMetrics,
)
from q2_aam.core.training.preparation.samples import prepare_samples

TESTS = Path(__file__).resolve().parents[1]

# The test that shows the effect of an option, here or beside the module that has it.
SHOWN_BY = {
    "embedding_dim": "test_architecture_is_that_of_the_options",
    "attention_heads": "test_architecture_is_that_of_the_options",
    "attention_layers": "test_architecture_is_that_of_the_options",
    "patch_size": "test_architecture_is_that_of_the_options",
    "max_bp": "test_max_bp_hides_what_is_beyond",
    "dropout": "test_dropout_is_in_the_layers_above_the_encoder",
    "rarefy_depth": "test_prepare_samples_leaves_shallow_samples_out_and_names_them",
    "shallow_samples": "test_most_samples_are_left_out_only_if_asked_for",
    "rarefy_each_epoch": "test_prepare_data_draws_anew_each_epoch_if_asked_to",
    "token_limit": "test_token_limit_hides_the_rarest_asvs",
    "asv_sampling": "test_limit_asvs_random_differs_between_epochs",
    "test_size": "test_prepare_samples_holds_a_share_out",
    "nuc_mask_ratio": "test_mask_nucleotides_masks_the_share_asked_for",
    "nuc_mask_strategy": "test_mask_nucleotides_span_is_one_run",
    "unifrac_metric": "test_prepare_phylogeny_computes_the_same_targets_at_once_or_lazily",
    "stripe_mode": "test_prepare_phylogeny_computes_the_same_targets_at_once_or_lazily",
    "reference_samples": "test_prepare_phylogeny_draws_references_among_training_samples",
    "lazy_unifrac": "test_prepare_phylogeny_says_what_memory_targets_take",
    "prune_tree": "test_prepare_phylogeny_prunes_if_asked_to",
    "missing_features": "test_drop_missing_features_names_one",
    "epochs": "test_epochs_and_batch_size_make_the_steps",
    "batch_size": "test_epochs_and_batch_size_make_the_steps",
    "lr": "test_lr_scales_a_step_of_sgd",
    "patience": "test_patience_counts_epochs_after_the_best",
    "optimizer": "test_optimizer_makes_the_step",
    "scheduler": "test_scheduler_makes_the_course",
    "warmup_steps": "test_warmup_is_a_tenth_of_a_short_run",
    "weight_decay": "test_weight_decay_draws_matrices_to_zero_only",
    "max_grad_norm": "test_max_grad_norm_bounds_a_step_of_sgd",
    "gradient_accumulation_steps": "test_accumulated_batches_learn_as_one_large_batch",
    "asv_chunk_size": "test_saving_memory_keeps_less_and_learns_the_same",
    "gradient_checkpointing": "test_saving_memory_keeps_less_and_learns_the_same",
    "use_expandable_segments": "test_training_prepares_the_allocator_before_it_looks_for_a_gpu",
    "compile_model": "test_compile_model_compiles_and_changes_nothing_else",
    "mixed_precision": "test_mixed_precision_is_the_arithmetic_of_training",
    "penalty": "test_pretrain_total_is_the_weighted_sum",
    "nuc_penalty": "test_pretrain_total_is_the_weighted_sum",
    "random_seed": "test_pretrain_other_seed_other_weights",
    "num_workers": "test_num_workers_prepare_the_same_batches",
    "device": "test_training_refuses_a_gpu_that_is_not_there",
    "keep_sample_ids": "test_a_model_keeps_no_ids_if_asked_not_to",
    "freeze_base": "test_freeze_base_keeps_the_encoder",
    "from_scratch": "test_who_asks_for_another_model_gets_one",
    "stored_samples": "test_stored_samples_bounds_how_many_are_kept",
    "ensemble": "test_networks_learn_apart",
    "asv_dropout": "test_asvs_are_left_out_in_training_alone",
    "count_penalty": "test_fine_tuning_total_is_the_weighted_sum",
    "target_penalty": "test_fine_tuning_total_is_the_weighted_sum",
    "target_transform": "test_predictions_are_in_the_units_of_the_column",
    "target_minimum": "test_predictions_stay_within_limits",
    "target_maximum": "test_predictions_stay_within_limits",
    "loss_type": "test_fine_tuning_objective_takes_loss_type",
    "quantiles": "test_predict_quantiles_has_a_column_a_quantile",
    "best_metric": "test_best_metric_chooses_what_is_kept",
    "class_weights": "test_fine_tuning_objective_takes_class_weights",
}  # fmt: skip


def test_every_option_names_a_test_that_shows_its_effect():
    configs = (ModelConfig, DataConfig, UniFracConfig, TrainConfig, RecordConfig)
    configs += (RegressionConfig, ClassificationConfig)
    assert set(SHOWN_BY) == {name for config in configs for name in option_infos(config)}
    tests = set()
    for path in TESTS.rglob("test_*.py"):
        body = ast.parse(path.read_text()).body
        tests |= {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assert not set(SHOWN_BY.values()) - tests


@pytest.fixture(scope="module")
def options():
    """Return options of one step over all samples, at the rate that is asked for."""
    return {
        "embedding_dim": 8,
        "attention_heads": 2,
        "attention_layers": 1,
        "batch_size": 48,
        "epochs": 1,
        "rarefy_depth": 100,
        "test_size": 0.0,
        "scheduler": "cosine",
        "lr": 1e-3,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def pretrain(simulated, tree_path, options):
    def run(**changed):
        return api.pretrain(simulated.table, tree_path, **{**options, **changed})

    return run


@pytest.fixture(scope="module")
def start(pretrain):
    """Return the encoder from which steps are measured."""
    return pretrain(lr=1e-12)


@pytest.fixture(scope="module")
def step(pretrain, start):
    """Return how far a run moves the weights of the start, by name."""

    def of(**changed):
        made = pretrain(encoder=start, **changed)
        return {name: made.weights[name] - value for name, value in start.weights.items()}

    return of


def flat(parts):
    return torch.cat([value.double().flatten() for value in parts.values()])


def test_architecture_is_that_of_the_options(pretrain):
    made = pretrain(
        embedding_dim=12, attention_heads=3, attention_layers=4, max_bp=50, patch_size=7
    )
    assert made.weights["asv_encoder.position"].shape == (8, 12)
    assert made.weights["asv_encoder.patch.weight"].shape == (12, (7 + 2 * SURROUNDINGS) * 5)
    assert made.weights["asv_encoder.pooling.score.weight"].shape == (3, 12)
    names = "asv_encoder.transformer", "sample_encoder.transformer", "transformer"
    layers = [
        {weight.removeprefix(f"{name}.blocks.")[0] for weight in made.weights
         if weight.startswith(f"{name}.blocks.")}
        for name in names
    ]  # fmt: skip
    assert layers == [{"0", "1", "2", "3"}, {"0", "1"}, {"0", "1"}]


def test_max_bp_hides_what_is_beyond(simulated, tree_path, options):
    """Sequences of 40 nucleotides that go on make the same model, if the rest is not read."""

    def made(tail, max_bp):
        sequences = {name: name + tail for name in simulated.table.ids("observation")}
        model = api.pretrain(
            simulated.table, tree_path, sequences=sequences, **{**options, "max_bp": max_bp}
        )
        return flat(model.weights)

    assert torch.equal(made("", 40), made("ACGTACGTAC", 40))
    assert not torch.equal(made("", 50), made("ACGTACGTAC", 50))


def test_dropout_is_in_the_layers_above_the_encoder(simulated, options, monkeypatch):
    shares = {}
    original = lightning_module.TrainingModule.on_train_epoch_start

    def look(self):
        for name, module in self.model.named_modules():
            if isinstance(module, Block):
                shares[name.split(".")[0]] = module.dropout.p
        original(self)

    monkeypatch.setattr(lightning_module.TrainingModule, "on_train_epoch_start", look)
    api.train_regressor(simulated.table, simulated.metadata["age"], dropout=0.3, **options)
    assert shares.pop("base_model") == 0.0
    assert set(shares.values()) == {0.3}


def test_token_limit_hides_the_rarest_asvs(simulated, options):
    """A table without them makes the same model."""
    names = simulated.table.ids("observation")
    few, order = simulated.table.matrix_data.toarray(), np.argsort(names)
    for counts in few.T:
        rarest = order[np.argsort(-counts[order], kind="stable")[3:]]
        counts[rarest] = 0
    few = biom.Table(few, names, simulated.table.ids())
    plain = {**options, "rarefy_depth": 0, "nuc_penalty": 0.0, "stored_samples": 0, "dropout": 0.0}
    plain["asv_dropout"] = 0.0
    plain |= {"optimizer": "sgd", "lr": 0.1}  # Adam would make whole steps of rounding
    age = simulated.metadata["age"]
    limited = api.train_regressor(simulated.table, age, token_limit=3, **plain)
    cut, whole = (api.train_regressor(table, age, **plain) for table in (few, simulated.table))
    assert flat(limited.weights).allclose(flat(cut.weights), atol=1e-6)
    assert not flat(limited.weights).allclose(flat(whole.weights), atol=1e-6)


@pytest.mark.parametrize(("epochs", "batch_size", "steps"), [(1, 48, 1), (2, 20, 6), (3, 7, 21)])
def test_epochs_and_batch_size_make_the_steps(pretrain, tmp_path, epochs, batch_size, steps):
    made = pretrain(epochs=epochs, batch_size=batch_size)
    assert len(made.history) == epochs
    assert len(scalars(read_model(made, tmp_path / "events"))["learning_rate"]) == steps


def test_lr_scales_a_step_of_sgd(step):
    small, large = (flat(step(optimizer="sgd", weight_decay=0.0, lr=lr)) for lr in (1e-3, 2e-3))
    assert small.abs().max() > 1e-5
    assert large.allclose(2 * small, atol=1e-6)


def test_optimizer_makes_the_step(step):
    """Of Adam all weights move by the learning rate, of SGD along the gradient."""
    moved = {kind: flat(step(optimizer=kind, weight_decay=0.0)) for kind in ("adam", "sgd")}
    adam, sgd = moved["adam"], moved["sgd"]
    large = sgd.abs() > 1e-7
    assert large.sum() > 1000
    assert adam[large].abs().allclose(torch.full_like(adam[large], 1e-3), rtol=0.02)
    assert (adam[large].sign() == sgd[large].sign()).all()
    assert sgd[large].abs().max() > 10 * sgd[large].abs().median()


def test_weight_decay_draws_matrices_to_zero_only(step, start):
    spared, decayed = step(weight_decay=0.0), step(weight_decay=10.0)
    for name, value in start.weights.items():
        drawn = decayed[name] - spared[name]
        matrix = name.endswith(".weight") and value.ndim == 2 and "asv_encoder.patch" not in name
        matrix = matrix and "diversity" not in name  # of which nothing is asked here
        expected = -1e-3 * 10.0 * value if matrix else torch.zeros_like(value)
        torch.testing.assert_close(drawn, expected, atol=1e-6, rtol=1e-3)


def test_max_grad_norm_bounds_a_step_of_sgd(step):
    plain = {"optimizer": "sgd", "weight_decay": 0.0, "lr": 0.1}
    free, clipped = (flat(step(max_grad_norm=norm, **plain)) for norm in (0.0, 0.01))
    assert free.norm() > 0.1 * 0.01 * 2
    assert clipped.norm() == pytest.approx(0.1 * 0.01, rel=1e-2)
    assert torch.cosine_similarity(free, clipped, dim=0) > 0.999


@pytest.mark.parametrize(
    ("scheduler", "course"),
    [
        ("cosine", lambda rates: rates == sorted(rates, reverse=True) and rates[0] == 1e-3),
        ("warmup_cosine", lambda rates: rates.index(max(rates)) == 1 and rates[0] == 5e-4),
        ("onecycle", lambda rates: rates.index(max(rates)) == 3 and rates[0] < 1e-4),
        ("plateau", lambda rates: set(rates) == {1e-3}),
    ],
)
def test_scheduler_makes_the_course(pretrain, tmp_path, scheduler, course):
    held = {"test_size": 0.2} if scheduler == "plateau" else {}
    made = pretrain(scheduler=scheduler, epochs=4, batch_size=16, lr=1e-3, **held)
    rates = [round(r, 9) for r in scalars(read_model(made, tmp_path / "events"))["learning_rate"]]
    assert len(rates) == 12
    assert course(rates), rates


def test_warmup_is_a_tenth_of_a_short_run(pretrain, tmp_path):
    """Twelve steps must not be spent at the rates of the first of ten thousand."""
    made = pretrain(scheduler="warmup_cosine", epochs=4, batch_size=16)
    rates = scalars(read_model(made, tmp_path / "events"))["learning_rate"]
    assert rates[:2] == pytest.approx([5e-4, 1e-3])


def test_patience_counts_epochs_after_the_best(pretrain):
    ruinous = {"lr": 0.3, "batch_size": 8, "epochs": 30, "test_size": 0.2}
    losses = pretrain(patience=3, **ruinous).history["val/total_loss"]
    assert len(losses) < 30
    assert len(losses) - 1 - losses.idxmin() == 3


SAVING = [{"asv_chunk_size": 5}, {"gradient_checkpointing": True}]


@pytest.mark.parametrize("saving", SAVING, ids=lambda saving: next(iter(saving)))
def test_saving_memory_keeps_less_and_learns_the_same(step, saving):
    def kept_by(**changed):
        kept = []

        def keep(tensor):
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            moved = flat(step(optimizer="sgd", **changed))
        return moved, sum(kept)

    (plain, much), (same, little) = kept_by(), kept_by(**saving)
    # Reads of 40 nucleotides are five patches: a quarter of all that is kept is of their level.
    assert little < 0.85 * much
    assert same.allclose(plain, atol=1e-7)


def test_num_workers_prepare_the_same_batches(pretrain, monkeypatch):
    asked = []
    original = lightning_module.loader

    def loader(dataset, num_workers, **named):
        asked.append(num_workers)
        return original(dataset, num_workers, **named)

    monkeypatch.setattr(lightning_module, "loader", loader)
    alone, helped = pretrain(), pretrain(num_workers=2)
    assert set(asked) == {0, 2}
    assert torch.equal(flat(alone.weights), flat(helped.weights))


def test_fine_tuning_total_is_the_weighted_sum(simulated, tree_path, options):
    weights = {"target_penalty": 3.0, "penalty": 0.5, "nuc_penalty": 2.0, "count_penalty": 0.1}
    terms = ("target_loss", "unifrac_loss", "nuc_loss", "count_loss")
    made = api.train_regressor(
        simulated.table, simulated.metadata["age"], phylogeny=tree_path,
        **{**options, **weights, "test_size": 0.2},
    )  # fmt: skip
    for stage in ("train", "val"):
        losses = {term: made.history[f"{stage}/{term}"][0] for term in terms}
        total = sum(w * losses[t] for w, t in zip(weights.values(), terms, strict=True))
        assert made.history[f"{stage}/total_loss"][0] == pytest.approx(total, rel=1e-5)


SCORES = {
    "mae": ("age", mean_absolute_error, min),
    "r2": ("age", r2_score, max),
    "accuracy": ("site", accuracy_score, max),
    "f1": ("site", partial(f1_score, average="macro"), max),
}


def fine_tune(simulated, options, metric, **changed):
    """Train on the column that a metric is of."""
    column = SCORES[metric][0]
    train = api.train_regressor if column == "age" else api.train_classifier
    changed = {"test_size": 0.4, "batch_size": 8, "stored_samples": 0, **changed}
    return train(simulated.table, simulated.metadata[column], **{**options, **changed})


@pytest.mark.parametrize("metric", SCORES)
def test_best_metric_chooses_what_is_kept(simulated, options, monkeypatch, metric):
    """The metric is best in the second of four epochs, whatever the others and the loss say."""
    other = {"mae": "r2", "r2": "mae", "accuracy": "f1", "f1": "accuracy"}[metric]
    best = SCORES[metric][2]
    course = iter([3.0, 1.0, 2.0, 4.0] if best is min else [3.0, 5.0, 4.0, 1.0])
    weights = []

    def compute(self):
        return {metric: torch.tensor(next(course)), other: torch.tensor(float(len(weights)))}

    def note(self, trainer, pl_module):
        weights.append({n: v.clone() for n, v in pl_module.model.state_dict().items()})
        original(self, trainer, pl_module)

    original = History.on_train_epoch_end
    monkeypatch.setattr(History, "on_train_epoch_end", note)
    for metrics in (RegressionMetrics, ClassificationMetrics):
        monkeypatch.setattr(metrics, "compute", compute)
    made = fine_tune(simulated, options, metric, epochs=4, best_metric=metric)
    kept = [all(torch.equal(v, w[n]) for n, v in made.weights.items()) for w in weights]
    assert kept == [False, True, False, False]


@pytest.mark.parametrize("metric", SCORES)
def test_metrics_of_a_run_are_those_of_scikit_learn(simulated, options, metric):
    """The model that is kept scores, by its predictions, what the history says of its epoch."""
    column, score, best = SCORES[metric]
    made = fine_tune(simulated, options, metric, epochs=3, best_metric=metric)
    true = simulated.metadata[column]
    whole = sample_table(simulated.table, None, 150)
    values = None if column == "age" else true
    samples = prepare_samples(inputs_of(whole, values, **{**options, "test_size": 0.4}))
    names = list(samples.held.sample_ids)
    table = simulated.table.filter(names, inplace=False)
    if column == "age":
        predicted = api.predict_regression(table, made)
    else:
        predicted = api.predict_classification(table, made)[0]
    expected = best(made.history[f"val/{metric}"])
    assert score(true[names], predicted[names]) == pytest.approx(expected, rel=1e-4)
