"""What a trained model is, in plain data: the content of ``config.json`` (torch-free)."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    Settings,
    TargetConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.options.strict_json import require_keys

ENCODER, REGRESSOR, CLASSIFIER = "SequenceEncoder", "SequenceRegressor", "SequenceClassifier"
KINDS = (ENCODER, REGRESSOR, CLASSIFIER)
FINE_TUNING = {REGRESSOR: RegressionConfig, CLASSIFIER: ClassificationConfig}
TARGETS = {REGRESSOR: NumericTarget, CLASSIFIER: CategoricalTarget}
MAX_COUNT = 2**53
MAX_CODES = 16
MAX_TREES = 1000


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
            _check_count(name, value)
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


@dataclass(frozen=True)
class Code:
    """One form of the target in which it is predicted from similar samples.

    Parameters
    ----------
    n_outputs : int
        1 for the value itself, otherwise the number of bins or classes.
    sharpness : float
        Power to which predicted shares are raised before they are made to sum to one.
    weight : float
        How much the prediction of this code counts, from 0 to 1.
    """

    n_outputs: int
    sharpness: float
    weight: float

    def __post_init__(self):
        _check_count("n_outputs", self.n_outputs, low=1)
        _check_number("sharpness", self.sharpness, 0.1, 100)
        _check_number("weight", self.weight, 0, 1)


@dataclass(frozen=True)
class StoredSamplesSpec:
    """Sizes of what a model keeps of its training samples, and how it predicts from them.

    Parameters
    ----------
    n_samples, n_features, n_entries : int
        Samples kept, distinct sequences in them, and pairs of a sample and a sequence in it.
    read_length : int
        Nucleotides of the longest sequence.
    classes : bool
        Whether the target is categorical.
    n_trees, n_nodes : int
        Trees grown on these samples, and nodes of all of them.
    tree_share : float
        Share of the trees in the comparison with these samples, from 0 to 1.
    blend : float
        Share of the comparison with these samples in a prediction, from 0 to 1.
    codes : tuple of Code
    """

    n_samples: int
    n_features: int
    n_entries: int
    read_length: int
    classes: bool
    n_trees: int
    n_nodes: int
    tree_share: float
    blend: float
    codes: tuple[Code, ...]

    def __post_init__(self):
        counts = ("n_samples", "n_features", "n_entries", "read_length", "n_trees", "n_nodes")
        for name in counts:
            _check_count(name, getattr(self, name), low=1)
        if type(self.classes) is not bool:
            raise ValueError(f"classes must be true or false, found {self.classes!r}.")
        _check_number("tree_share", self.tree_share, 0, 1)
        _check_number("blend", self.blend, 0, 1)
        if self.n_trees > MAX_TREES:
            raise ValueError(f"n_trees must be at most {MAX_TREES}, found {self.n_trees}.")
        if not 0 < len(self.codes) <= MAX_CODES:
            raise ValueError(f"codes must be 1 to {MAX_CODES}, found {len(self.codes)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of JSON values."""
        return asdict(self) | {"codes": [asdict(code) for code in self.codes]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StoredSamplesSpec":
        """Restore the fields from what `to_dict` returned.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is out of range.
        """
        require_keys(values, [f.name for f in fields(cls)], "neighbours")
        if not isinstance(values["codes"], list):
            raise ValueError("codes must be a list.")
        for code in values["codes"]:
            require_keys(code, [f.name for f in fields(Code)], "a code")
        return cls(**values | {"codes": tuple(Code(**code) for code in values["codes"])})


def _check_count(name: str, value, low: int = 0) -> None:
    if type(value) is not int or not low <= value <= MAX_COUNT:
        raise ValueError(f"{name} must be an integer from {low} to 2^53, found {value!r}.")


def _check_number(name: str, value, low: float, high: float) -> None:
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, found {value!r}.")


_SECTIONS = {
    "model": ModelConfig,
    "data": DataConfig,
    "unifrac": UniFracConfig,
    "training": TrainConfig,
    "fine_tuning": None,  # by kind
    "target": None,
    "reads": Reads,
    "neighbours": StoredSamplesSpec,
}
_OPTIONAL = ("neighbours",)


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
    neighbours : StoredSamplesSpec, optional
        The training samples kept to compare others with, if there are any.
    """

    kind: str
    model: ModelConfig
    data: DataConfig
    unifrac: UniFracConfig
    training: TrainConfig
    reads: Reads
    fine_tuning: TargetConfig | None = None
    target: NumericTarget | CategoricalTarget | None = None
    neighbours: StoredSamplesSpec | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {self.kind!r}.")
        for name, classes in ("fine_tuning", FINE_TUNING), ("target", TARGETS):
            expected, found = classes.get(self.kind, type(None)), type(getattr(self, name))
            if found is not expected:
                raise ValueError(
                    f"{name} of a {self.kind} must be {expected.__name__}, found {found.__name__}."
                )
        self._check_neighbours()

    def _check_neighbours(self) -> None:
        if self.neighbours is None:
            return
        widths = [code.n_outputs for code in self.neighbours.codes]
        fits = widths == [self.n_outputs] if self.neighbours.classes else widths[:1] == [1]
        if self.target is None or not fits or self.neighbours.classes != (self.kind == CLASSIFIER):
            raise ValueError(f"neighbours do not fit a {self.kind} of {self.n_outputs} outputs.")

    @classmethod
    def of(cls, kind: str, settings: Settings, reads: Reads, target=None) -> "ModelSpec":
        """Specify the model that these settings make from these reads."""
        parts = settings.model, settings.data, settings.unifrac, settings.training
        return cls(kind, *parts, reads, settings.fine_tuning, target)

    @property
    def n_outputs(self) -> int:
        """Numbers predicted for a sample: none, one, or one a class."""
        if self.target is None:
            return 0
        return len(self.target.classes) if isinstance(self.target, CategoricalTarget) else 1

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Quantiles that the head predicts of a numeric target, if it does."""
        return () if self.fine_tuning is None else self.fine_tuning.levels

    @property
    def ensemble(self) -> int:
        """Networks that read the target, whose answers are averaged; none of an encoder."""
        return 0 if self.fine_tuning is None else self.fine_tuning.ensemble

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
    if values is None and name in _OPTIONAL:
        return None
    expected = "absent" if made_by is None else "an object"
    if not isinstance(values, type(None) if made_by is None else dict):
        raise ValueError(f"section '{name}' must be {expected}, found {type(values).__name__}.")
    if made_by is None:
        return None
    try:
        return made_by.from_dict(values)
    except ValueError as error:
        raise ValueError(f"section '{name}': {error}") from error
