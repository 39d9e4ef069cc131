"""Inputs of runs, for the tests of what prepares them."""

from pandas.api.types import is_numeric_dtype

from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.run_settings import settings_of

QUICK = {
    "embedding_dim": 8,
    "attention_heads": 2,
    "attention_layers": 1,
    "epochs": 1,
    "rarefy_depth": 100,
    "lr": 1e-3,
    "device": "cpu",
}
"""Options with which training of a small table takes a second."""


def inputs_of(table, values=None, phylogeny=None, reference_ids=None, **options):
    """Return the input of a run on this table: pre-training, unless there are values."""
    kind = ENCODER
    if values is not None:
        kind = REGRESSOR if is_numeric_dtype(values) else CLASSIFIER
    settings = settings_of(kind, {"rarefy_depth": 100, **options})
    return RunInput(kind, settings, table, values, phylogeny, reference_ids=reference_ids)
