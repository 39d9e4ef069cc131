"""The rules of the house that a machine can check; docs/architecture.md states them."""

import ast
import json
import shutil
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from heavy_imports import FRAMEWORK, LIGHT, heavy_imports

from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RecordConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)

PACKAGE = Path(__file__).resolve().parents[1] / "q2_aam"
QIIME = ("qiime2", "q2_types", "q2_sample_classifier", "q2_feature_table")

# A room imports only from rooms that come before it.
CORE = [
    "core.options",
    "core.data",
    "core.phylogeny",
    "core.model",
    "core.training",
    "core.artifact",
    "core.evaluation",
    "core.explain",
    "core.api",
]
SHELL = ["types", "pages", "actions", "registration", "plugin_setup"]
ROOMS = [*CORE, *SHELL]
MOST_ENTRIES, MOST_MODULES = 10, 16
TORCH_FREE = (
    "core.options",
    "core.phylogeny",
    "core.evaluation",
    "core.data.splits.grouped_split",
    "core.data.splits.roles",
    "core.data.messages",
    "core.data.metadata",
    "core.data.nucleotides",
    "core.data.progress",
    "core.data.rarefaction",
    "core.data.sample_table",
    "core.data.simulate",
    "core.data.target",
    "core.data.splits.validation_split",
    "core.model.covariates",
    "core.model.members",
    "core.model.specification",
    "core.model.tensor_shapes",
    "core.artifact.ensemble_directory",
    "core.artifact.history_file",
    "core.artifact.model_directory",
    "core.artifact.samples_file",
    "core.artifact.weights_file",
    "core.training.preparation.run_settings",
    "core.training.preparation.weighting",
    "core.explain.questions",
)


def modules(package=PACKAGE):
    """Return the path of each module by its name within the package."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in sorted(package.rglob("*.py"))
    }


def room_of(module):
    """Return the room of a module, or None for an `__init__` above the rooms."""
    parts = module.split(".")
    room = ".".join(parts[:2]) if parts[0] == "core" else parts[0]
    return room if room in ROOMS else None


def imports_of(path, *, everywhere=False):
    """List the modules that a file imports, at its top level or everywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = []
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def graph_of(package, *, everywhere):
    """Return which modules of the package each module imports."""
    paths, graph = modules(package), {}
    for name, path in paths.items():
        graph[name] = set()
        for imported in imports_of(path, everywhere=everywhere):
            inside = imported.removeprefix("q2_aam.")
            found = {inside, inside.rpartition(".")[0]} & set(paths)
            graph[name] |= found
    return graph


def imports_against_the_direction(package=PACKAGE):
    """List the imports from a room that comes later."""
    wrong = []
    for name, imported in graph_of(package, everywhere=True).items():
        for other in sorted(imported):
            here, there = room_of(name), room_of(other)
            if here and there and ROOMS.index(there) > ROOMS.index(here):
                wrong.append(f"{name} imports {other}")
    return wrong


def rooms_without_a_sentence(package=PACKAGE):
    """List the packages whose `__init__` does not say in a sentence what they are for."""
    wrong = []
    for path in sorted(package.rglob("__init__.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if len(said.split()) < 4 or not said.endswith("."):
            wrong.append(str(path.parent.relative_to(package.parent)))
    return wrong


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the package, to be spoilt."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "q2_aam"))


def test_every_module_is_in_a_room():
    homeless = {name for name in modules() if room_of(name) is None}
    assert homeless == {"__init__", "core.__init__"}
    folders = {str(p.parent.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py")} - {"."}
    assert folders == {
        str(p.parent.relative_to(PACKAGE)) for p in PACKAGE.rglob("__init__.py")
    } - {"."}


def test_rooms_import_from_rooms_before_them_only():
    assert imports_against_the_direction() == []


def test_an_import_against_the_direction_is_found(copy):
    with (copy / "core" / "data" / "metadata.py").open("a") as file:
        file.write("\n\ndef f():\n    from q2_aam.core.training import run\n")
    found = imports_against_the_direction(copy)
    assert found == ["core.data.metadata imports core.training.run"]


def test_modules_import_each_other_in_one_direction():
    TopologicalSorter(graph_of(PACKAGE, everywhere=False)).prepare()  # fails on a cycle


def test_rooms_say_what_they_are_for():
    assert rooms_without_a_sentence() == []


def test_a_room_without_a_sentence_is_found(copy):
    (copy / "core" / "phylogeny" / "__init__.py").write_text('"""Trees."""\n')
    (copy / "pages" / "__init__.py").write_text("")
    assert rooms_without_a_sentence(copy) == ["q2_aam/core/phylogeny", "q2_aam/pages"]


@pytest.mark.parametrize("room", ["core", *(room for room in ROOMS if room != "plugin_setup")])
def test_rooms_can_be_taken_in_at_a_glance(room):
    folder = PACKAGE.joinpath(*room.split("."))
    entries = {path.name for path in folder.glob("*") if path.name != "__pycache__"}
    assert len(entries) <= (MOST_ENTRIES if room == "core" else MOST_MODULES)


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("core.")])
def test_core_does_not_know_qiime2(name):
    for imported in imports_of(modules()[name], everywhere=True):
        assert imported.split(".")[0] not in QIIME


TORCH_FREE_IMPORTS = "; ".join(
    f"import q2_aam.{name.removesuffix('.__init__')}"
    for name in modules()
    for free in TORCH_FREE
    if name == free or name.startswith(f"{free}.")
)


# Newer scikit-bio imports torch by itself, if it is installed.
@pytest.mark.parametrize("loaded", [(), ("torch",)])
def test_registration_loads_nothing_heavy(loaded):
    assert heavy_imports("import q2_aam.plugin_setup", FRAMEWORK, loaded) == []


@pytest.mark.parametrize("loaded", [(), ("torch",)])
def test_torch_free_modules_load_no_torch(loaded):
    assert TORCH_FREE_IMPORTS.count("import") > len(TORCH_FREE)
    assert heavy_imports(TORCH_FREE_IMPORTS, LIGHT, loaded) == []


def test_an_import_of_something_heavy_is_found():
    ours = "exec('import torch.nn', {'__name__': 'q2_aam.core.data.x'})"
    found = heavy_imports(ours, loaded=("torch", "torch.nn"))
    assert found == ["q2_aam.core.data.x imports torch.nn"]
    assert heavy_imports("import sklearn") == ["sklearn is loaded"]


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(embedding_dim=64, attention_heads=8),
        DataConfig(token_limit=7),
        UniFracConfig(unifrac_metric="faith_pd"),
        TrainConfig(asv_chunk_size=12, max_grad_norm=1.5),
        RecordConfig(keep_sample_ids=False),
        RegressionConfig(freeze_base=True),
        ClassificationConfig(class_weights="balanced"),
    ],
)
def test_config_survives_json(config):
    again = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config


@pytest.mark.parametrize("name", modules())
def test_files_and_functions_keep_their_size(name):
    text = modules()[name].read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            body = node.body[1:] if documented else node.body
            if body:
                assert node.end_lineno - body[0].lineno < 60, node.name
