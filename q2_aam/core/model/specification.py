"""What a trained model is, in plain data: the content of ``config.json`` (torch-free)."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.covariates import Covariates
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
ROUNDING = 1e-6
MAX_CODES = 16
MAX_TREES = 1000
NETWORK, RIDGE, TREES = PARTS = ("network", "kernel ridge regression", "trees")
"""What a prediction is a weighted mean of, where a model stores samples."""


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
class Part:
    """One part of a prediction.

    Parameters
    ----------
    weight : float
        How much it counts, from 0 to 1; the weights of all parts sum to 1.
    score : float, optional
        R squared, or accuracy of classes, of this part alone on the validation samples.
    """

    weight: float
    score: float | None = None

    def __post_init__(self):
        _check_number("weight", self.weight, 0, 1)
        if self.score is not None:
            _check_number("score", self.score, -1e300, 1)


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
    parts : dict of str to Part
        Network, kernel ridge regression and trees, by the names in `PARTS`.
    score : float, optional
        Of their mixture on the validation samples, as the score of a `Part`.
    codes : tuple of Code
        Forms of the target that kernel ridge regression predicts.
    """

    n_samples: int
    n_features: int
    n_entries: int
    read_length: int
    classes: bool
    n_trees: int
    n_nodes: int
    parts: dict[str, Part]
    score: float | None
    codes: tuple[Code, ...]

    def __post_init__(self):
        counts = ("n_samples", "n_features", "n_entries", "read_length", "n_trees", "n_nodes")
        for name in counts:
            _check_count(name, getattr(self, name), low=1)
        if type(self.classes) is not bool:
            raise ValueError(f"classes must be true or false, found {self.classes!r}.")
        if abs(sum(part.weight for part in self.parts.values()) - 1) > ROUNDING:
            raise ValueError("The weights of the parts of a prediction must sum to 1.")
        if self.score is not None:
            _check_number("score", self.score, -1e300, 1)
        if self.n_trees > MAX_TREES:
            raise ValueError(f"n_trees must be at most {MAX_TREES}, found {self.n_trees}.")
        if not 0 < len(self.codes) <= MAX_CODES:
            raise ValueError(f"codes must be 1 to {MAX_CODES}, found {len(self.codes)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of JSON values."""
        return asdict(self) | {"codes": [asdict(code) for code in self.codes]}

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of the parts, in the order of `PARTS`."""
        return tuple(self.parts[name].weight for name in PARTS)

    def with_weights(self, *weights: float) -> "StoredSamplesSpec":
        """Give the parts other weights, in the order of `PARTS`."""
        parts = {
            name: replace(self.parts[name], weight=weight)
            for name, weight in zip(PARTS, weights, strict=True)
        }
        return replace(self, parts=parts)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StoredSamplesSpec":
        """Restore the fields from what `to_dict` returned.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is out of range.
        """
        require_keys(values, [f.name for f in fields(cls)], "stored")
        if not isinstance(values["codes"], list):
            raise ValueError("codes must be a list.")
        for code in values["codes"]:
            require_keys(code, [f.name for f in fields(Code)], "a code")
        require_keys(values["parts"], PARTS, "parts")
        for part in values["parts"].values():
            require_keys(part, [f.name for f in fields(Part)], "a part")
        parts = {name: Part(**values["parts"][name]) for name in PARTS}
        codes = tuple(Code(**code) for code in values["codes"])
        return cls(**values | {"parts": parts, "codes": codes})


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
    "stored": StoredSamplesSpec,
    "covariates": Covariates,
}
_OPTIONAL = ("stored", "covariates")
_ONLY_IF_THERE = ("covariates",)
"""Sections that a model without them does not name."""


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
    stored : StoredSamplesSpec, optional
        The training samples kept to compare others with, if there are any.
    n_vectors : int
        ASVs that have a vector of their own in the network; none in an encoder.
    covariates : Covariates, optional
        Metadata columns that are read beside the table; none by an encoder.
    """

    kind: str
    model: ModelConfig
    data: DataConfig
    unifrac: UniFracConfig
    training: TrainConfig
    reads: Reads
    fine_tuning: TargetConfig | None = None
    target: NumericTarget | CategoricalTarget | None = None
    stored: StoredSamplesSpec | None = None
    n_vectors: int = 0
    covariates: Covariates | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {self.kind!r}.")
        for name, classes in ("fine_tuning", FINE_TUNING), ("target", TARGETS):
            expected, found = classes.get(self.kind, type(None)), type(getattr(self, name))
            if found is not expected:
                raise ValueError(
                    f"{name} of a {self.kind} must be {expected.__name__}, found {found.__name__}."
                )
        _check_count("n_vectors", self.n_vectors)
        if self.data.rarefy_depth is None:  # to be chosen when there are samples
            raise ValueError("rarefy_depth of a model must be given.")
        self._check_stored()

    def _check_stored(self) -> None:
        if self.kind == ENCODER and (self.n_vectors or self.covariates is not None):
            raise ValueError("A SequenceEncoder has no vectors of single ASVs and no covariates.")
        if self.stored is None:
            return
        widths = [code.n_outputs for code in self.stored.codes]
        fits = widths == [self.n_outputs] if self.stored.classes else widths[:1] == [1]
        if self.target is None or not fits or self.stored.classes != (self.kind == CLASSIFIER):
            raise ValueError(
                f"Stored samples do not fit a {self.kind} of {self.n_outputs} outputs."
            )
        if self.stored.n_features < self.n_vectors:
            raise ValueError(
                f"There are vectors of {self.n_vectors} ASVs, and {self.stored.n_features} ASVs."
            )

    @classmethod
    def of(cls, kind: str, settings: Settings, reads: Reads, target=None, **learnt) -> "ModelSpec":
        """Specify the model that these settings make from these reads.

        What is learnt beside, `n_vectors` and `covariates`, is given by name.
        """
        parts = settings.model, settings.data, settings.unifrac, settings.training
        return cls(kind, *parts, reads, settings.fine_tuning, target, **learnt)

    @property
    def covariate_widths(self) -> tuple[int, ...]:
        """Numbers of each covariate; none if there are no covariates."""
        return () if self.covariates is None else self.covariates.widths

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
        """Networks that predict the target, whose answers are averaged; none of an encoder."""
        return 0 if self.fine_tuning is None else self.fine_tuning.ensemble

    @property
    def compares(self) -> bool:
        """Whether the networks compare samples with stored ones."""
        return self.fine_tuning is not None and self.fine_tuning.stored_samples > 0

    @property
    def reads_target(self) -> bool:
        """Whether the networks read something from the place of a sample alone."""
        return self.fine_tuning is not None and (bool(self.quantiles) or not self.compares)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as nested dictionaries of JSON values."""
        parts = {name: getattr(self, name) for name in _SECTIONS}
        parts = {
            n: part for n, part in parts.items() if part is not None or n not in _ONLY_IF_THERE
        }
        return {"kind": self.kind, "n_vectors": self.n_vectors} | {
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
        if isinstance(values, dict):
            values = dict.fromkeys(_ONLY_IF_THERE) | values
        require_keys(values, ("kind", "n_vectors", *_SECTIONS), "the configuration")
        kind = values["kind"]
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {kind!r}.")
        by_kind = {"fine_tuning": FINE_TUNING.get(kind), "target": TARGETS.get(kind)}
        classes = _SECTIONS | by_kind
        parts = {name: _section(name, made_by, values[name]) for name, made_by in classes.items()}
        return cls(kind, **parts, n_vectors=values["n_vectors"])


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
