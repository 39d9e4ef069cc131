"""In which order an action shows its parameters: the common ones first, related ones together.

Galaxy shows what must be given, and puts everything else into one closed section, inputs before
parameters. So only the order tells there what belongs together. The help of the command line has
the same order.
"""

from collections.abc import Sequence
from inspect import Parameter

OF_THE_STUDY = (
    "split", "test_value", "test_fraction", "folds", "n_folds", "groups", "covariates",
    "covariate_columns", "weights", "balance", "untrainable_folds", "missing_samples",
    "forest",
)  # fmt: skip
"""What an action is told of the study, in this order, after its data and before its options."""

GROUPS = {
    "what most studies choose": (
        "rarefy_depth", "max_bp", "epochs", "freeze_base", "from_scratch",
        "random_seed",
    ),
    "the target": (
        "target_transform", "target_minimum", "target_maximum", "loss_type", "quantiles",
        "class_weights", "best_metric", "stored_samples", "ensemble", "asv_dropout",
    ),
    "the samples": (
        "test_size", "shallow_samples", "rarefy_each_epoch", "token_limit", "asv_sampling",
        "keep_sample_ids",
    ),
    "the phylogeny": (
        "missing_features", "unifrac_metric", "stripe_mode", "reference_samples", "reference_ids",
        "lazy_unifrac", "prune_tree",
    ),
    "pre-training within a pipeline": (
        "pretrain_epochs", "pretrain_lr", "pretrain_penalty", "pretrain_nuc_penalty",
    ),
    "the weights of the losses": (
        "target_penalty", "penalty", "nuc_penalty", "count_penalty", "nuc_mask_ratio",
        "nuc_mask_strategy",
    ),
    "training": (
        "batch_size", "lr", "patience", "optimizer", "scheduler", "warmup_steps", "weight_decay",
        "max_grad_norm", "dropout",
    ),
    "the size of the model": (
        "embedding_dim", "attention_heads", "attention_layers", "patch_size",
    ),
    "memory and machine": (
        "device", "mixed_precision", "gradient_accumulation_steps", "gradient_checkpointing",
        "asv_chunk_size", "num_workers", "compile_model", "use_expandable_segments",
    ),
}  # fmt: skip

_LAST = len(OF_THE_STUDY)
_OWN_RANKS = {name: i - _LAST for i, name in enumerate(OF_THE_STUDY)}
_RANKS = {name: i for i, name in enumerate(n for group in GROUPS.values() for n in group)}


def in_order(own: Sequence[Parameter], options: Sequence[Parameter]) -> list[Parameter]:
    """Put the parameters of an action into the order in which they are shown.

    Parameters
    ----------
    own : sequence of inspect.Parameter
        What the action itself names: first, unless a group names it too. What is told of the
        study is last of these.
    options : sequence of inspect.Parameter
        The options of a run, each with a default: group by group. One that no group names is
        last.
    """
    first = {p.name: _OWN_RANKS.get(p.name, -_LAST - 1) for p in own}
    ranks = {name: _RANKS.get(name, rank) for name, rank in first.items()}
    ranks |= {p.name: _RANKS.get(p.name, len(_RANKS)) for p in options}
    return sorted([*own, *options], key=lambda p: ranks[p.name])
