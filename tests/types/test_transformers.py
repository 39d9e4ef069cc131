import numpy as np
import pandas as pd
import pytest
import qiime2
from model_files import small_model
from qiime2 import Artifact
from qiime2.plugin import ValidationError

from q2_aam.core.artifact import storage
from q2_aam.core.model.specification import CLASSIFIER, KINDS
from q2_aam.types.models import AAMModelDirectoryFormat


def view_of(kind):
    view = AAMModelDirectoryFormat()
    storage.save(small_model(kind), str(view))
    return view


@pytest.mark.parametrize("kind", KINDS)
def test_model_is_metadata_with_its_history(kind):
    artifact = Artifact.import_data(f"AAMModel[{kind}]", view_of(kind))
    assert artifact.has_metadata()
    metadata = artifact.view(qiime2.Metadata)
    assert metadata.ids == ("0", "1", "4")
    table = metadata.to_dataframe()
    assert table["train/total_loss"].tolist() == [1.0 / 3.0, 1e-300, 2.0]
    np.testing.assert_equal(table["val/total_loss"].tolist(), [np.nan, 0.1, np.nan])
    assert metadata.artifacts == (artifact,)


def test_model_without_an_epoch_is_no_metadata():
    model = small_model()
    model.history = pd.DataFrame()
    view = AAMModelDirectoryFormat()
    storage.save(model, str(view))
    artifact = Artifact.import_data("AAMModel[SequenceEncoder]", view)
    with pytest.raises(ValueError, match="at least one ID"):
        artifact.view(qiime2.Metadata)


@pytest.mark.parametrize("claimed", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_type_must_be_the_kind_of_the_model(kind, claimed):
    view = view_of(kind)
    if kind == claimed:
        Artifact.import_data(f"AAMModel[{claimed}]", view)
        return
    message = rf"is AAMModel\[{kind}\], not AAMModel\[{claimed}\]; import it as AAMModel\[{kind}\]"
    with pytest.raises(ValidationError, match=message):
        Artifact.import_data(f"AAMModel[{claimed}]", view)


def test_type_is_checked_for_paths_too(tmp_path):
    storage.save(small_model(CLASSIFIER), tmp_path / "model")
    with pytest.raises(ValidationError, match=r"not AAMModel\[SequenceEncoder\]"):
        Artifact.import_data("AAMModel[SequenceEncoder]", str(tmp_path / "model"))
