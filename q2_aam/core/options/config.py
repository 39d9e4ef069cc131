"""Every option of a run, defined once: name, default, range and meaning.

The QIIME 2 shell builds its parameters and help texts from these fields, and a model directory
stores them as JSON. Nothing here imports torch.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from q2_aam.core.options.fine_tuning import ClassificationConfig, RegressionConfig, TargetConfig
from q2_aam.core.options.option import Config, OptionError, option, option_infos
from q2_aam.core.options.record import RecordConfig

__all__ = [
    "ClassificationConfig",
    "DataConfig",
    "ModelConfig",
    "RecordConfig",
    "RegressionConfig",
    "Settings",
    "TargetConfig",
    "TrainConfig",
    "UniFracConfig",
]

UNIFRAC_METRICS = ("unweighted", "unifrac", "weighted_normalized", "faith_pd")


@dataclass(frozen=True)
class ModelConfig(Config):
    """The architecture: what determines the names and shapes of a model's tensors."""

    embedding_dim: int = option(
        128, "Width of the embeddings of nucleotides, ASVs and samples.", low=8, high=4096
    )
    attention_heads: int = option(
        4, "Attention heads of each layer. Must divide embedding_dim.", low=1, high=64
    )
    attention_layers: int = option(
        4,
        "Transformer layers that read the nucleotides. Each part above them has half as many: "
        "ASVs of a sample and sample embedding; in fine-tuning also abundance and target.",
        low=1,
        high=64,
    )
    max_bp: int = option(
        150,
        "Maximum number of nucleotides to read of a sequence. Longer sequences are cut.",
        low=10,
        high=10_000,
    )
    patch_size: int = option(
        8,
        "Neighbouring nucleotides that the model reads as one token. Smaller patches take more "
        "time and memory.",
        low=1,
        high=32,
    )
    dropout: float = option(
        0.1,
        "Share of activations to drop in training, in the layers above the encoder. These layers "
        "predict abundances and the target. The same share of the covariates is made unknown.",
        low=0.0,
        high=0.9,
    )

    @property
    def sample_layers(self) -> int:
        """Transformer layers of each part above the nucleotide level."""
        return max(1, self.attention_layers // 2)

    def _contradictions(self):
        if self.embedding_dim % self.attention_heads:
            yield (
                f"embedding_dim ({self.embedding_dim}) must be a multiple of attention_heads "
                f"({self.attention_heads})"
            )


@dataclass(frozen=True)
class DataConfig(Config):
    """How samples become batches."""

    rarefy_depth: int | None = option(
        None,
        "Rarefaction depth: reads to draw from each sample without replacement. Training leaves "
        "out samples with fewer reads, and a warning names them. Prediction uses such samples as "
        "they are. 0 keeps all reads. By default, it is 5000, or a smaller round number that nine "
        "of ten samples have.",
        low=0,
    )
    shallow_samples: str = option(
        "error",
        "What to do if more than half of the samples have fewer reads than rarefy_depth: stop "
        "(error), or leave these samples out of training (ignore).",
        choices=("error", "ignore"),
    )
    rarefy_each_epoch: bool = option(
        False, "Draw the reads of the training samples again in every epoch, as augmentation."
    )
    token_limit: int = option(
        1024,
        "Maximum number of ASVs that the model reads of a sample. asv_sampling chooses them.",
        low=1,
        high=1_000_000,
    )
    asv_sampling: str = option(
        "abundance",
        "Which ASVs to keep of a sample with more than token_limit ASVs: the most abundant "
        "(abundance), the first in the order of their sequences (first), or a new random draw "
        "in each epoch of training (random).",
        choices=("abundance", "first", "random"),
    )
    test_size: float = option(
        0.2,
        "Share of the samples to use for validation instead of training. These validation samples "
        "choose the best epoch. With 0 there are none, and the last epoch is kept.",
        low=0.0,
        high=0.9,
    )
    nuc_mask_ratio: float = option(
        0.15, "Share of the nucleotides of an ASV to mask. The model learns to restore them.",
        low=0.0, high=0.9,
    )  # fmt: skip
    nuc_mask_strategy: str = option(
        "random",
        "Mask single nucleotides (random), or one run of neighbouring nucleotides in each ASV "
        "(span).",
        choices=("random", "span"),
    )

    def _contradictions(self):
        if self.rarefy_each_epoch and self.rarefy_depth == 0:
            yield "rarefy_each_epoch needs a rarefy_depth above 0"


@dataclass(frozen=True)
class UniFracConfig(Config):
    """The phylogenetic target of pre-training."""

    unifrac_metric: str = option(
        "unweighted",
        "What the model learns from the phylogeny: unweighted UniFrac (unweighted or unifrac), "
        "weighted normalized UniFrac (weighted_normalized), or Faith's phylogenetic diversity "
        "(faith_pd).",
        choices=UNIFRAC_METRICS,
    )
    stripe_mode: bool = option(
        True,
        "Compare each sample with a fixed set of reference samples. Any batch_size then works. "
        "Otherwise, compare each sample with the other samples of its mini-batch.",
    )
    reference_samples: int = option(
        100,
        "Number of reference samples in stripe_mode. They are drawn from the training samples. "
        "Up to eight of them join each mini-batch in turn, and its samples are compared with "
        "these. Validation samples are compared with all reference samples.",
        low=1,
    )
    lazy_unifrac: bool = option(
        True,
        "Compute the distances of each mini-batch when it is loaded. Otherwise, compute all "
        "distances before training. Without stripe_mode, their memory then grows with the square "
        "of the number of samples.",
    )
    prune_tree: bool = option(
        True, "Keep only the part of the phylogeny that leads to features of the table."
    )
    missing_features: str = option(
        "error",
        "What to do if features of the table are not tips of the phylogeny: stop (error), or "
        "leave these features out of training (drop).",
        choices=("error", "drop"),
    )

    @property
    def metric(self) -> str:
        """The metric by its own name: the AAM command line calls unweighted ``unifrac``."""
        return "unweighted" if self.unifrac_metric == "unifrac" else self.unifrac_metric


@dataclass(frozen=True)
class TrainConfig(Config):
    """The training loop."""

    epochs: int = option(
        10, "Maximum number of epochs. An epoch is one pass over the training samples.", low=1
    )
    batch_size: int = option(16, "Samples in a mini-batch.", low=1)
    lr: float = option(1e-3, "Highest learning rate of a run.", low=1e-12, high=10.0)
    patience: int = option(
        10,
        "Early stopping: training stops after this many epochs without an improvement on the "
        "validation samples.",
        low=1,
    )
    optimizer: str = option(
        "adamw",
        "Adam with decoupled weight decay (adamw), Adam (adam), or stochastic gradient descent "
        "with momentum 0.9 (sgd).",
        choices=("adamw", "adam", "sgd"),
    )
    scheduler: str = option(
        "warmup_cosine",
        "Schedule of the learning rate: linear warm-up, then cosine decay to zero "
        "(warmup_cosine); cosine decay only (cosine); constant, then a tenth each time the "
        "validation loss has not improved for half the patience (plateau); one cycle up and down "
        "(onecycle).",
        choices=("warmup_cosine", "cosine", "plateau", "onecycle"),
    )
    warmup_steps: int = option(
        10_000,
        "Steps of the linear warm-up of warmup_cosine. Never more than a tenth of the run.",
        low=0,
    )
    weight_decay: float = option(
        0.01, "Strength of weight decay. Norms, biases and embeddings do not decay.", low=0.0
    )
    max_grad_norm: float = option(
        1.0,
        "Gradients with a larger norm are scaled down to this norm. 0 turns this off.",
        low=0.0,
    )
    gradient_accumulation_steps: int = option(
        1,
        "Mini-batches for each step of the optimizer. Several small mini-batches give the result "
        "of one large mini-batch, with the memory of a small one.",
        low=1,
    )
    asv_chunk_size: int | None = option(
        None,
        "Maximum number of ASVs to encode at a time. Each ASV is encoded once more for the "
        "gradient. The result is the same, with less memory and more time. By default, all ASVs "
        "of a mini-batch are encoded at once.",
        low=1,
    )
    gradient_checkpointing: bool = option(
        False,
        "Compute the activations of each layer again for the gradient, instead of keeping them. "
        "The result is the same, with less memory and more time.",
    )
    use_expandable_segments: bool = option(
        False, "Let PyTorch expand its segments of GPU memory, to avoid fragmentation."
    )
    compile_model: bool = option(
        False,
        "Compile the nucleotide level with torch.compile at the start. For long runs on GPUs.",
    )
    mixed_precision: str = option(
        "auto",
        "Number format: single precision (fp32), bfloat16 where precision matters less (bf16), "
        "half precision there with a scaled loss (fp16, on NVIDIA and AMD GPUs only), or the "
        "fastest safe one (auto): bf16 on GPUs that compute in it, fp16 on other NVIDIA and AMD "
        "GPUs, fp32 elsewhere.",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    penalty: float = option(1.0, "Weight of the UniFrac loss. 0 leaves it out.", low=0.0)
    nuc_penalty: float = option(
        1.0, "Weight of the loss on masked nucleotides. 0 leaves it out.", low=0.0
    )
    random_seed: int = option(
        0, "Seed of all random draws. On one machine, the same seed gives the same model.", low=0,
        high=2**31 - 1,
    )  # fmt: skip
    num_workers: int = option(
        0,
        "Extra processes that prepare mini-batches during training. More than the processor cores "
        "that the job may use are not started.",
        low=0,
        high=256,
    )
    device: str = option(
        "auto",
        "Where to compute: on a GPU if there is one (auto), on the CPU (cpu), on an NVIDIA or AMD "
        "GPU (cuda), or on the GPU of an Apple computer (mps).",
        choices=("auto", "cpu", "cuda", "mps"),
    )


@dataclass(frozen=True)
class Settings:
    """All options of a run, checked against each other."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    unifrac: UniFracConfig = UniFracConfig()
    training: TrainConfig = TrainConfig()
    fine_tuning: TargetConfig | None = None
    record: RecordConfig = field(default_factory=RecordConfig)

    @classmethod
    def from_options(
        cls, options: dict[str, Any], fine_tuning: type[TargetConfig] | None = None
    ) -> "Settings":
        """Sort named options into their places; what is not named has its default.

        Parameters
        ----------
        options : dict
            Values by option name.
        fine_tuning : type, optional
            `RegressionConfig` or `ClassificationConfig`; absent for pre-training.

        Raises
        ------
        OptionError
            With everything that is wrong: unknown names, values out of range, contradictions.
        """
        classes = {
            "model": ModelConfig,
            "data": DataConfig,
            "unifrac": UniFracConfig,
            "training": TrainConfig,
            "record": RecordConfig,
        }
        if fine_tuning is not None:
            classes["fine_tuning"] = fine_tuning
        infos = {n: i for config in classes.values() for n, i in option_infos(config).items()}
        problems = [f"there is no option '{n}'" for n in sorted(set(options) - set(infos))]
        given = {name: infos[name].problem(options[name]) for name in infos if name in options}
        wrong = {name: problem for name, problem in given.items() if problem is not None}
        sound = {name: options[name] for name in given if name not in wrong}
        parts = {place: config.unchecked(sound) for place, config in classes.items()}
        contradictions = [said for part in parts.values() for said in part._contradictions()]
        contradictions += cls(**parts)._contradictions()
        # What contradicts an option that is wrong by itself will be seen when that is right.
        problems += [*wrong.values(), *(c for c in contradictions if not _names(c) & set(wrong))]
        if problems:
            raise OptionError(problems)
        return cls(**parts)

    def _contradictions(self):
        data, unifrac, training = self.data, self.unifrac, self.training
        if data.rarefy_each_epoch and not unifrac.lazy_unifrac:
            yield "rarefy_each_epoch draws new samples every epoch, so lazy_unifrac must be on"
        if not unifrac.stripe_mode and training.batch_size < 2 and self._compares:
            yield (
                "without stripe_mode the samples of a batch are compared with each other, so "
                "batch_size must be at least 2"
            )
        if training.scheduler == "plateau" and data.test_size == 0:
            yield "scheduler plateau follows the validation loss, so test_size must be above 0"
        if self.fine_tuning is None:
            if training.penalty == 0 and training.nuc_penalty == 0:
                yield "penalty and nuc_penalty are both 0, so there is nothing to learn"
            return
        if self.fine_tuning.target_penalty == 0:
            yield "target_penalty is 0, so the target would not be learnt"
        if self.fine_tuning.best_metric != "val_loss" and data.test_size == 0:
            yield (
                f"best_metric {self.fine_tuning.best_metric} is measured on validation samples, "
                "so test_size must be above 0"
            )

    @property
    def _compares(self) -> bool:
        return self.training.penalty > 0 and self.unifrac.metric != "faith_pd"

    @property
    def best_metric(self) -> str:
        """What chooses the best epoch."""
        return "val_loss" if self.fine_tuning is None else self.fine_tuning.best_metric


def _names(sentence: str) -> set[str]:
    """Return the words of a sentence, among them the options that it names."""
    return set(re.findall(r"\w+", sentence))
