import pytest
import qiime2
from qiime2.plugin import Plugin
from qiime2.sdk import PluginManager, parse_type

from q2_aam.core.model.specification import KINDS
from q2_aam.types.models import (
    AAMModel,
    AAMModelDirectoryFormat,
    SequenceClassifier,
    SequenceEncoder,
    SequenceRegressor,
)


@pytest.fixture(scope="module")
def manager():
    return PluginManager()


@pytest.mark.parametrize("kind", KINDS)
def test_types_are_named_as_the_kinds_of_models(manager, kind):
    type_ = parse_type(f"AAMModel[{kind}]")
    assert type_.is_concrete()
    assert manager.get_directory_format(type_) is AAMModelDirectoryFormat


def test_types_are_three(manager):
    every = AAMModel[SequenceEncoder | SequenceRegressor | SequenceClassifier]
    assert {str(type_) for type_ in every} == {f"AAMModel[{kind}]" for kind in KINDS}
    ours = [name for name in manager.artifact_classes if name.startswith("AAMModel")]
    assert sorted(ours) == sorted(f"AAMModel[{kind}]" for kind in KINDS)


def test_types_leave_others_names_alone(manager):
    """A fragment that two plugins define breaks every command."""
    theirs = {
        name
        for plugin in manager.plugins.values()
        if plugin.name != "aam"
        for name in plugin.type_fragments
    }
    assert isinstance(manager.plugins["aam"], Plugin)
    assert not theirs & set(manager.plugins["aam"].type_fragments)


def test_types_refuse_other_variants():
    with pytest.raises(TypeError, match="is not a variant"):
        AAMModel[qiime2.sdk.parse_type("Phylogeny[Rooted]")]
