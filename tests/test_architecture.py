"""The rules of the house that a machine can check; docs/architecture.md states them."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)

PACKAGE = Path(__file__).resolve().parents[1] / "q2_aam"
HEAVY = ("torch", "lightning", "sklearn", "tensorboard", "altair", "unifrac")
FRAMEWORK = ("qiime2", "q2_types", "q2_sample_classifier", "q2_feature_table")

# A module imports only from modules above it.
CORE_ORDER = [
    [
        "options",
        "strict_json",
        "alphabet",
        "rundir",
        "curves",
        "newick",
        "quantiles",
        "extra_trees",
        "blending",
    ],
    ["fine_tuning"],
    ["config", "simulate", "scores"],
    ["target", "metadata", "table", "similarity"],
    ["spec", "phylogeny", "subtrees"],
    ["schema", "unifrac", "history", "kernel_regression"],
    ["weights_file", "dataset", "layers"],
    ["artifact", "neighbours", "reader"],
    ["model"],
    [
        "losses",
        "comparison",
        "inference",
        "optim",
        "metrics",
        "device",
        "callbacks",
        "interruption",
    ],
    ["checkpoint", "training", "explain"],
    ["fit", "prepare", "extract"],
    ["run"],
    ["api"],
    ["explore"],
]
TORCH_FREE = {
    name for layer in CORE_ORDER[:6] for name in layer
} | {"artifact", "weights_file"}  # fmt: skip


def core_modules():
    return sorted(path.stem for path in (PACKAGE / "core").glob("*.py") if path.stem != "__init__")


def imports_of(path):
    """List the modules that a file imports at its top level."""
    names = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def all_imports_of(path):
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module)
    return names


def test_every_core_module_has_its_place():
    assert set(core_modules()) == {name for layer in CORE_ORDER for name in layer}


@pytest.mark.parametrize("name", core_modules())
def test_core_imports_point_upwards_only(name):
    height = {module: i for i, layer in enumerate(CORE_ORDER) for module in layer}
    for imported in imports_of(PACKAGE / "core" / f"{name}.py"):
        module = imported.removeprefix("q2_aam.core.").split(".")[0]
        if imported.startswith("q2_aam.core.") and module in height:
            assert height[module] < height[name], f"{name} imports {module}"


@pytest.mark.parametrize("name", core_modules())
def test_core_does_not_know_qiime2(name):
    for imported in all_imports_of(PACKAGE / "core" / f"{name}.py"):
        assert imported.split(".")[0] not in FRAMEWORK


def modules_loaded_by(statement):
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_registration_loads_nothing_heavy():
    ours = modules_loaded_by("import q2_aam.plugin_setup")
    framework = modules_loaded_by(
        "import qiime2.plugin, q2_types.feature_table, q2_types.feature_data, "
        "q2_types.sample_data, q2_types.tree, q2_sample_classifier"
    )
    assert not [name for name in HEAVY if name in ours - framework]
    assert "torch" not in ours


@pytest.mark.parametrize("name", sorted(TORCH_FREE))
def test_torch_free_modules_load_no_torch(name):
    if name in core_modules():
        assert "torch" not in modules_loaded_by(f"import q2_aam.core.{name}")


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(embedding_dim=64, attention_heads=8),
        DataConfig(token_limit=7),
        UniFracConfig(unifrac_metric="faith_pd"),
        TrainConfig(asv_chunk_size=12, max_grad_norm=1.5),
        RegressionConfig(freeze_base=True),
        ClassificationConfig(class_weights="balanced"),
    ],
)
def test_config_survives_json(config):
    again = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_files_and_functions_keep_their_size(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            body = node.body[1:] if documented else node.body
            if body:
                assert node.end_lineno - body[0].lineno < 60, node.name
