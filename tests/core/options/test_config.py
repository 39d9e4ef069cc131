"""The options of a run: what they are, how they are refused, and where each is shown to work."""

import re

import pytest

from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    Settings,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.options.option import OptionError, option_infos

PRETRAINING = (ModelConfig, DataConfig, UniFracConfig, TrainConfig)
ALL = (*PRETRAINING, RegressionConfig, ClassificationConfig)
OPTIONS = {
    (config.__name__, name): info for config in ALL for name, info in option_infos(config).items()
}

# The options of the AAM command line, by the names that its users know.
OF_AAM = {
    "epochs", "batch_size", "lr", "patience", "optimizer", "scheduler", "warmup_steps",
    "weight_decay", "max_grad_norm", "embedding_dim", "attention_heads", "attention_layers",
    "max_bp", "token_limit", "gradient_accumulation_steps", "asv_chunk_size",
    "use_expandable_segments", "gradient_checkpointing", "compile_model", "mixed_precision",
    "rarefy_depth", "test_size", "rarefy_each_epoch", "unifrac_metric", "stripe_mode",
    "lazy_unifrac", "reference_samples", "prune_tree", "penalty", "nuc_penalty", "nuc_mask_ratio",
    "nuc_mask_strategy", "asv_sampling", "random_seed", "num_workers", "device",
}  # fmt: skip
OF_FINE_TUNING = {"count_penalty", "target_penalty", "freeze_base", "best_metric"}


def test_pretraining_takes_the_options_of_the_aam_command_line():
    known = {name for config in PRETRAINING for name in option_infos(config)}
    assert not OF_AAM - known


@pytest.mark.parametrize(
    ("config", "own"),
    [
        (RegressionConfig, {"target_transform", "loss_type"}),
        (ClassificationConfig, {"class_weights"}),
    ],
)
def test_fine_tuning_takes_its_own(config, own):
    assert OF_FINE_TUNING | own <= set(option_infos(config))


@pytest.mark.parametrize("place", OPTIONS, ids=".".join)
def test_every_option_has_a_sound_default_and_an_explanation(place):
    info = OPTIONS[place]
    assert info.problem(info.default) is None
    assert re.fullmatch(r"[A-Z][^\n]{15,400}\.", info.help)
    assert "  " not in info.help
    for choice in info.choices or ():
        assert re.search(rf"(?<![\w-]){choice}(?![\w-])", info.help), choice


def test_from_options_sorts_them_into_their_places():
    options = {"embedding_dim": 64, "token_limit": 9, "reference_samples": 5, "lr": 0.1}
    settings = Settings.from_options({**options, "loss_type": "mse"}, RegressionConfig)
    assert settings.model == ModelConfig(embedding_dim=64)
    assert settings.data == DataConfig(token_limit=9)
    assert settings.unifrac == UniFracConfig(reference_samples=5)
    assert settings.training == TrainConfig(lr=0.1)
    assert settings.fine_tuning == RegressionConfig(loss_type="mse")


def test_from_options_of_nothing_has_defaults():
    assert Settings.from_options({}) == Settings()


def test_from_options_pretraining_does_not_know_those_of_fine_tuning():
    with pytest.raises(OptionError, match="there is no option 'freeze_base'"):
        Settings.from_options({"freeze_base": True})


def problems_of(options, fine_tuning=None):
    with pytest.raises(OptionError, match="Invalid options") as caught:
        Settings.from_options(options, fine_tuning)
    return caught.value.problems


CONTRADICTIONS = [
    ({"embedding_dim": 30}, "multiple of attention_heads"),
    ({"rarefy_each_epoch": True, "rarefy_depth": 0}, "needs a rarefy_depth above 0"),
    ({"rarefy_each_epoch": True, "lazy_unifrac": False}, "lazy_unifrac must be on"),
    ({"stripe_mode": False, "batch_size": 1}, "batch_size must be at least 2"),
    ({"scheduler": "plateau", "test_size": 0.0}, "test_size must be above 0"),
    ({"penalty": 0.0, "nuc_penalty": 0.0}, "nothing to learn"),
    ({"target_penalty": 0.0}, "the target would not be learnt"),
    ({"best_metric": "mae", "test_size": 0.0}, "best_metric mae is measured on validation"),
]


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_from_options_refuses_contradictions(options, message):
    fine_tuning = RegressionConfig if {"target_penalty", "best_metric"} & set(options) else None
    (problem,) = problems_of(options, fine_tuning)
    assert message in problem


def test_from_options_tells_all_problems_in_one_message():
    """Unknown names, values out of range and contradictions, of whatever part they are."""
    problems = problems_of(
        {
            "epochs": 0,
            "optimiser": "sgd",
            "embedding_dim": 30,
            "test_size": 0.0,
            "scheduler": "plateau",
            "best_metric": "r2",
            "loss_type": "cubic",
        },
        RegressionConfig,
    )
    expected = [
        "no option 'optimiser'", "epochs must be at least 1", "loss_type must be one of",
        "multiple of attention_heads", "scheduler plateau", "best_metric r2",
    ]  # fmt: skip
    assert len(problems) == len(expected)
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem


def test_from_options_does_not_contradict_what_is_wrong_by_itself():
    assert problems_of({"embedding_dim": 30, "attention_heads": 0}) == [
        "attention_heads must be at least 1, found 0"
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"stripe_mode": False, "batch_size": 1, "unifrac_metric": "faith_pd"},
        {"stripe_mode": False, "batch_size": 1, "penalty": 0.0},
        {"penalty": 0.0},
        {"nuc_penalty": 0.0},
    ],
)
def test_from_options_takes_what_is_no_contradiction(options):
    Settings.from_options(options)


def test_metric_knows_unweighted_as_unifrac():
    assert UniFracConfig(unifrac_metric="unifrac").metric == "unweighted"
    assert UniFracConfig(unifrac_metric="faith_pd").metric == "faith_pd"


def test_best_metric_of_pretraining_is_the_loss():
    assert Settings().best_metric == "val_loss"
    settings = Settings.from_options({"best_metric": "f1"}, ClassificationConfig)
    assert settings.best_metric == "f1"
