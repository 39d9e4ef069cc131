"""Models of older releases load, and predict what they did when they were made."""

import pandas as pd
import pytest
from released_models import FIXTURES, PREDICT, released

from q2_aam.core.artifact import model_directory
from q2_aam.core.artifact.model_directory import FORMAT_VERSION
from q2_aam.core.model.specification import KINDS

MODELS = released()


def test_there_are_models_of_every_kind_and_version():
    folders = {path.name for path in FIXTURES.iterdir()}
    assert folders == {f"format-{version}" for version in range(1, FORMAT_VERSION + 1)}
    for folder in FIXTURES.iterdir():
        kinds = {
            model_directory.read_config(m.directory).spec.kind
            for m in MODELS
            if m.folder == folder
        }
        assert kinds == set(KINDS)
        assert {m.name.split("-")[0] for m in MODELS if m.folder == folder} == set(PREDICT)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.folder.name}-{model.name}")
def test_models_of_every_version_predict_what_they_did(model):
    model_directory.validate(model.directory, "max")
    pd.testing.assert_frame_equal(
        model.predict(), model.predictions, rtol=1e-5, atol=1e-5, check_index_type=False
    )
