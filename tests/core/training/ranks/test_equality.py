"""Several ranks learn what one process learns from the same batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rank_pool import RankPool

from q2_aam.core import api
from q2_aam.core.training.loop.run_directory import INTERRUPTED
from q2_aam.core.training.ranks import launch

PRETRAINING = {
    "stripes": {"batch_size": 5, "optimizer": "adamw"},
    "stripes-sgd": {"batch_size": 7, "optimizer": "sgd", "gradient_accumulation_steps": 3},
    "pairs": {"batch_size": 5, "optimizer": "adam", "stripe_mode": False},
    "pairs-sgd": {
        "batch_size": 4, "optimizer": "sgd", "stripe_mode": False, "lazy_unifrac": False,
    },
    "faith-pd": {"batch_size": 5, "optimizer": "sgd", "unifrac_metric": "faith_pd"},
    "weighted": {
        "optimizer": "sgd", "unifrac_metric": "weighted_normalized", "lazy_unifrac": False,
    },
    "one-sample": {"batch_size": 1, "optimizer": "sgd", "epochs": 1},
    "one-sample-pairs": {"batch_size": 29, "optimizer": "sgd", "stripe_mode": False},
    "every-draw-at-random": {
        "optimizer": "sgd", "rarefy_each_epoch": True, "asv_sampling": "random", "token_limit": 5,
    },
    "less-memory": {"optimizer": "sgd", "asv_chunk_size": 4, "gradient_checkpointing": True},
    "without-validation": {"optimizer": "sgd", "test_size": 0.0, "nuc_mask_strategy": "span"},
    "other-processes": {"optimizer": "sgd", "num_workers": 1, "epochs": 1},
}  # fmt: skip
FINE_TUNING = {
    "regression": ("age", {"optimizer": "adamw", "scheduler": "plateau"}),
    "compared": ("age", {"optimizer": "sgd", "stored_samples": 100}),
    "compared-frozen": (
        "site",
        {"optimizer": "sgd", "freeze_base": True, "encoder": True, "stored_samples": 100},
    ),
    "compared-accumulated": (
        "age",
        {
            "optimizer": "sgd",
            "stored_samples": 100,
            "batch_size": 3,
            "gradient_accumulation_steps": 4,
            "loss_type": "quantile",
        },
    ),
    "phylogeny": ("age", {"optimizer": "sgd", "phylogeny": True, "best_metric": "r2"}),
    "quantiles": ("age", {"optimizer": "sgd", "loss_type": "quantile", "batch_size": 5}),
    "frozen": ("age", {"optimizer": "adam", "freeze_base": True, "encoder": True}),
    "covariates-and-weights": (
        "age",
        {"optimizer": "sgd", "stored_samples": 100, "batch_size": 5, "beside": True},
    ),
    "classes": ("site", {"optimizer": "sgd", "class_weights": "balanced", "batch_size": 5}),
    "frozen-classes": ("site", {"optimizer": "sgd", "freeze_base": True, "encoder": True}),
    "accumulated": ("site", {"batch_size": 3, "gradient_accumulation_steps": 4}),
    "one-sample": ("age", {"batch_size": 1, "optimizer": "sgd", "epochs": 1}),
}
NO_EFFECT = ("score.bias", "qkv.bias", "count_encoder.norm.bias", "abundance.bias")
"""What Adam moves by the rounding of its gradient, which is zero: it shifts all logits alike."""
SHIFTS = ("transformer.norm.bias", "pooling.value.bias", "pooling.combine.bias")
"""The same where only distances between embeddings count."""


ORDINARY = {
    (3, "stripes-sgd"), (3, "pairs"), (3, "one-sample"), (3, "regression"), (3, "compared-frozen"),
    (3, "compared"), (3, "covariates-and-weights"),
}  # fmt: skip


def cases(names):
    """List the numbers of ranks and the cases; most take too long together."""
    return [
        pytest.param(n, name, marks=() if (n, name) in ORDINARY else pytest.mark.slow)
        for n in (2, 3)
        for name in names
    ]


@pytest.fixture(scope="module")
def pools():
    """Return ranks that stay, by how many they are."""
    made = {}
    yield made
    for pool in made.values():
        pool.close()


@pytest.fixture
def pool(pools, request):
    """Return so many ranks."""
    if request.param not in pools:
        pools[request.param] = RankPool(request.param)
    return pools[request.param]


@pytest.fixture(scope="module")
def alone():
    """Return what makes the model of one process, once for each call."""
    made = {}

    def make(key, train):
        if key not in made:
            made[key] = train()
        return made[key]

    return make


@pytest.fixture
def together(pool, monkeypatch):
    """Return a monitor with which the ranks of the pool train."""
    monkeypatch.setattr(launch, "run_ranks", pool.run_ranks)
    return api.Monitor(layout=api.Layout(devices=pool.n))


def assert_same(one, several, of_no_effect=()):
    for name, value in one.weights.items():
        if not name.endswith(of_no_effect):
            torch.testing.assert_close(
                several.weights[name], value, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: n + m
            )
    assert list(one.history) == list(several.history)
    for name in set(one.history) - {"seconds"}:
        assert np.allclose(one.history[name], several.history[name], rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize(("pool", "case"), cases(PRETRAINING), indirect=["pool"])
def test_pretraining(simulated, tree_path, quick, alone, together, case):
    """Of 38 samples, which ranks and batches do not divide evenly."""
    table = simulated.table.filter(simulated.table.ids()[:38], inplace=False)
    options = {**quick, "reference_samples": 9, **PRETRAINING[case]}
    one = alone(case, lambda: api.pretrain(table, tree_path, **options))
    several = api.pretrain(table, tree_path, monitor=together, **options)
    by_rounding = NO_EFFECT + SHIFTS if options.get("optimizer") != "sgd" else ()
    assert_same(one, several, by_rounding)


@pytest.mark.parametrize(("pool", "case"), cases(FINE_TUNING), indirect=["pool"])
def test_fine_tuning(simulated, tree_path, quick, alone, together, case):
    table = simulated.table.filter(simulated.table.ids()[:38], inplace=False)
    column, chosen = FINE_TUNING[case]
    options = {**quick, "dropout": 0.0, "asv_dropout": 0.0, "stored_samples": 0, **chosen}
    if options.pop("phylogeny", False):
        options["phylogeny"] = tree_path
    if options.pop("encoder", False):
        options["encoder"] = alone("encoder", lambda: api.pretrain(table, tree_path, **quick))
    if options.pop("beside", False):
        options["covariates"] = simulated.metadata[["site"]]
        options["weights"] = simulated.metadata["age"].rename("weight")
    action = {"age": api.train_regressor, "site": api.train_classifier}[column]
    one = alone(f"to {case}", lambda: action(table, simulated.metadata[column], **options))
    several = action(table, simulated.metadata[column], monitor=together, **options)
    assert_same(one, several, NO_EFFECT if options.get("optimizer") != "sgd" else ())


STOPPED_AT = {
    "in-the-first-epoch": (2, {}),
    "in-a-later-epoch": (9, {}),
    "within-a-step": (2, {"gradient_accumulation_steps": 4}),
}
"""At which batch of six in an epoch one rank is sent a signal."""


@pytest.mark.parametrize(
    ("pool", "case"),
    [
        pytest.param(3, case, marks=() if case == "within-a-step" else pytest.mark.slow)
        for case in STOPPED_AT
    ],
    indirect=["pool"],
)
@pytest.mark.parametrize("goes_on", ["one", pytest.param("several", marks=pytest.mark.slow)])
def test_a_signal_to_one_rank_loses_no_step(
    simulated, tree_path, quick, alone, together, pool, tmp_path, case, goes_on
):
    """One process or several go on, and end as one that nothing happened to."""
    table = simulated.table.filter(simulated.table.ids()[:38], inplace=False)
    batch, chosen = STOPPED_AT[case]
    options = {**quick, "optimizer": "sgd", "batch_size": 5, "epochs": 3, **chosen}
    one = alone(f"unbroken {chosen}", lambda: api.pretrain(table, tree_path, **options))
    pool.signal_at = batch
    kept = replace(together, run_dir=tmp_path)
    with pytest.raises(ValueError, match="as it was after its last"):
        api.pretrain(table, tree_path, monitor=kept, **options)
    (run,) = tmp_path.iterdir()
    assert (run / INTERRUPTED).exists()
    going_on = kept if goes_on == "several" else api.Monitor(run_dir=tmp_path)
    assert_same(one, api.pretrain(table, tree_path, monitor=going_on, **options))
    assert not (run / INTERRUPTED).exists()
