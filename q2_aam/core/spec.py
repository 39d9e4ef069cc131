"""What a trained model is, in plain data: the content of ``config.json`` (torch-free)."""

from dataclasses import asdict, dataclass
from typing import Any

from q2_aam.core.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    TargetConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.strict_json import require_keys
from q2_aam.core.target import CategoricalTarget, NumericTarget

ENCODER, REGRESSOR, CLASSIFIER = "SequenceEncoder", "SequenceRegressor", "SequenceClassifier"
KINDS = (ENCODER, REGRESSOR, CLASSIFIER)
FINE_TUNING = {REGRESSOR: RegressionConfig, CLASSIFIER: ClassificationConfig}
TARGETS = {REGRESSOR: NumericTarget, CLASSIFIER: CategoricalTarget}
MAX_COUNT = 2**53


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

    def __post_init__(self):
        for name, value in asdict(self).items():
            if type(value) is not int or not 0 <= value <= MAX_COUNT:
                raise ValueError(f"{name} must be an integer from 0 to 2^53, found {value!r}.")
        if self.shortest > self.longest:
            raise ValueError(
                f"The shortest sequence ({self.shortest} nt) is longer than the longest "
                f"({self.longest} nt)."
            )

    def to_dict(self) -> dict[str, int]:
        """Return the fields as a dictionary of JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, int]) -> "Reads":
        """Restore the fields from what `to_dict` returned.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is no count.
        """
        require_keys(values, ("n_samples", "n_features", "shortest", "longest"), "reads")
        return cls(**values)


_SECTIONS = {
    "model": ModelConfig,
    "data": DataConfig,
    "unifrac": UniFracConfig,
    "training": TrainConfig,
    "fine_tuning": None,  # by kind
    "target": None,
    "reads": Reads,
}


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

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {self.kind!r}.")
        for name, classes in ("fine_tuning", FINE_TUNING), ("target", TARGETS):
            expected, found = classes.get(self.kind, type(None)), type(getattr(self, name))
            if found is not expected:
                raise ValueError(
                    f"{name} of a {self.kind} must be {expected.__name__}, found {found.__name__}."
                )

    @property
    def n_outputs(self) -> int:
        """Numbers predicted for a sample by the head: none, one, or one a class."""
        if self.target is None:
            return 0
        return len(self.target.classes) if isinstance(self.target, CategoricalTarget) else 1

    def to_dict(self) -> dict[str, Any]:
        """Return everything as nested dictionaries of JSON values."""
        parts = {name: getattr(self, name) for name in _SECTIONS}
        return {"kind": self.kind} | {
            name: None if part is None else part.to_dict() for name, part in parts.items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelSpec":
        """Restore a specification from what `to_dict` returned.

        Raises
        ------
        ValueError
            If anything is unknown, missing, of the wrong type, out of range or contradictory.
        """
        require_keys(values, ("kind", *_SECTIONS), "the configuration")
        kind = values["kind"]
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {kind!r}.")
        by_kind = {"fine_tuning": FINE_TUNING.get(kind), "target": TARGETS.get(kind)}
        classes = _SECTIONS | by_kind
        parts = {name: _section(name, made_by, values[name]) for name, made_by in classes.items()}
        return cls(kind, **parts)


def _section(name, made_by, values):
    expected = "absent" if made_by is None else "an object"
    if not isinstance(values, type(None) if made_by is None else dict):
        raise ValueError(f"section '{name}' must be {expected}, found {type(values).__name__}.")
    if made_by is None:
        return None
    try:
        return made_by.from_dict(values)
    except ValueError as error:
        raise ValueError(f"section '{name}': {error}") from error
