"""What actions share: QIIME 2 views into what the core takes and back, messages to users."""

import logging
import os
import sys
from contextlib import contextmanager

from q2_aam.types.models import AAMModelDirectoryFormat

RUN_DIR_VARIABLE = "Q2_AAM_RUN_DIR"


def training_inputs(sequences, encoder, reference_ids, groups) -> dict:
    """Turn the views that all training actions take into what the core takes."""
    from q2_aam.core.api import Monitor

    return {
        "sequences": path_of(sequences),
        "encoder": load_model(encoder),
        "reference_ids": None if reference_ids is None else list(reference_ids.ids),
        "groups": None if groups is None else groups.to_series(),
        "monitor": Monitor(run_dir=os.environ.get(RUN_DIR_VARIABLE) or None, progress=True),
    }


def path_of(view) -> str | None:
    """Return the path of a file that may be absent."""
    return None if view is None else str(view)


def load_model(model):
    """Read a model that may be absent."""
    from q2_aam.core.artifact import storage

    return None if model is None else storage.load(str(model))


def save_model(model) -> AAMModelDirectoryFormat:
    """Write a model into a directory that QIIME 2 takes."""
    from q2_aam.core.artifact import storage

    directory = AAMModelDirectoryFormat()
    storage.save(model, str(directory))
    return directory


@contextmanager
def reporting():
    """Let the core's messages reach the user: on stderr, which QIIME 2 shows under --verbose."""
    logger = logging.getLogger("q2_aam")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
