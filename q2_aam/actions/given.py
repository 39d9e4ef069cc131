"""What every pipeline is given beside its options: artifacts, columns of metadata, choices."""

import inspect
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Given:
    """The inputs of a pipeline, as QIIME 2 hands them over: artifacts and metadata, not views.

    Each field is a parameter of every pipeline, with its default.
    """

    table: Any
    metadata: Any
    encoder: Any = None
    phylogeny: Any = None
    sequences: Any = None
    groups: Any = None
    covariates: Any = None
    covariate_columns: Any = None
    weights: Any = None
    balance: Any = None
    missing_samples: str = "error"
    forest: str = "auto"


def parameters_given() -> list[inspect.Parameter]:
    """Return the fields of `Given` as parameters of a signature."""
    signature = inspect.signature(Given).parameters
    # Without annotations, which QIIME 2 2022.11 rejects in pipelines.
    return [signature[f.name].replace(annotation=inspect.Parameter.empty) for f in fields(Given)]
