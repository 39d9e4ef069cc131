"""What a trained model is, in plain data: the content of ``config.json`` (torch-free)."""

from dataclasses import dataclass

from q2_aam.core.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    TargetConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.target import CategoricalTarget, NumericTarget

ENCODER, REGRESSOR, CLASSIFIER = "SequenceEncoder", "SequenceRegressor", "SequenceClassifier"
KINDS = (ENCODER, REGRESSOR, CLASSIFIER)


@dataclass(frozen=True)
class Reads:
    """What a model was trained on, for warnings when it is used on something else.

    Parameters
    ----------
    n_samples, n_features : int
        Samples and ASVs of the training table after rarefaction.
    shortest, longest : int
        Sequence lengths in nucleotides, after truncation to ``max_bp``.
    """

    n_samples: int
    n_features: int
    shortest: int
    longest: int


@dataclass(frozen=True)
class ModelSpec:
    """Everything about a model but its weights and history.

    Parameters
    ----------
    kind : {'SequenceEncoder', 'SequenceRegressor', 'SequenceClassifier'}
        What the model predicts.
    model, data, unifrac, training
        The options it was made with.
    fine_tuning : RegressionConfig or ClassificationConfig, optional
        Absent for an encoder.
    target : NumericTarget or CategoricalTarget, optional
        Absent for an encoder.
    reads : Reads
        What it was trained on.
    """

    kind: str
    model: ModelConfig
    data: DataConfig
    unifrac: UniFracConfig
    training: TrainConfig
    reads: Reads
    fine_tuning: TargetConfig | None = None
    target: NumericTarget | CategoricalTarget | None = None

    @property
    def n_outputs(self) -> int:
        """Numbers predicted for a sample by the head: none, one, or one a class."""
        if self.target is None:
            return 0
        return len(self.target.classes) if isinstance(self.target, CategoricalTarget) else 1


FINE_TUNING = {REGRESSOR: RegressionConfig, CLASSIFIER: ClassificationConfig}
TARGETS = {REGRESSOR: NumericTarget, CLASSIFIER: CategoricalTarget}
