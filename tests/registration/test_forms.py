"""What forms such as Galaxy's show of an action: parameters in order, texts that fit all forms.

Galaxy (q2galaxy) shows inputs and parameters without a default first. All others lie in one closed
section, inputs before parameters, in the order of the signature.
"""

import re

import pytest
import qiime2

from q2_aam.actions.parameter_order import GROUPS
from q2_aam.actions.parameters import (
    CLASSIFICATION_PIPELINE,
    LEFT_TO_STEPS,
    REGRESSION_PIPELINE,
    parameter_types,
)

PLUGIN = qiime2.sdk.PluginManager().plugins["aam"]
TRAINING = ["pretrain", "train_regressor", "train_classifier"]
PIPELINES = sorted(PLUGIN.pipelines)
OF_ONE_COLUMN = [name for name in PIPELINES if name != "regress_columns"]
ORDER = [name for group in GROUPS.values() for name in group]


def closed_section(name):
    """List what lies in the closed section of the form of an action."""
    signature = PLUGIN.actions[name].signature
    specs = [*signature.inputs.items(), *signature.parameters.items()]
    return [parameter for parameter, spec in specs if spec.has_default()]


def open_part(name):
    """List what the form of an action shows first."""
    signature = PLUGIN.actions[name].signature
    specs = [*signature.inputs.items(), *signature.parameters.items()]
    return [parameter for parameter, spec in specs if not spec.has_default()]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pretrain", ["table", "phylogeny"]),
        *((name, ["table", "metadata"]) for name in [*TRAINING[1:], *OF_ONE_COLUMN]),
        ("regress_columns", ["table", "metadata", "columns"]),
        ("predict_regression", ["table", "regressor"]),
        ("predict_classification", ["table", "classifier"]),
        ("importance", ["table", "model"]),
        ("evaluate_regression", ["predictions", "metadata"]),
    ],
)
def test_what_must_be_given_is_shown_first(name, shown):
    assert open_part(name) == shown


@pytest.mark.parametrize("name", [*TRAINING[1:], *PIPELINES])
def test_closed_section_begins_with_data(name):
    assert closed_section(name)[:3] == ["encoder", "phylogeny", "sequences"]


@pytest.mark.parametrize("name", [*TRAINING, *PIPELINES])
def test_related_parameters_lie_together_and_common_ones_first(name):
    own_or_input = [p for p in closed_section(name) if p not in ORDER]
    options = [p for p in closed_section(name) if p in ORDER]
    assert closed_section(name) == own_or_input + options
    assert options == sorted(options, key=ORDER.index)
    common = [p for p in GROUPS["what most studies choose"] if p in options]
    assert options[: len(common)] == common
    assert {"rarefy_depth", "max_bp", "epochs", "random_seed"} <= set(common)


def test_every_option_of_a_run_has_a_group():
    options = {*parameter_types(REGRESSION_PIPELINE), *parameter_types(CLASSIFICATION_PIPELINE)}
    assert options | {"reference_ids"} == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_leave_out_what_changes_no_result(name):
    step = "train_regressor" if "regress" in name else "train_classifier"
    here, there = (set(PLUGIN.actions[n].signature.parameters) for n in (name, step))
    assert there - here == {*LEFT_TO_STEPS, "reference_ids"}


def texts(action):
    signature = action.signature
    specs = [*signature.inputs.values(), *signature.parameters.values()]
    specs += signature.outputs.values()
    described = [spec.description for spec in specs if spec.has_description()]
    return [action.name, action.description, *described]


@pytest.mark.parametrize("name", sorted(PLUGIN.actions))
def test_texts_fit_every_interface(name):
    """What only a shell can do (options with hyphens, variables, order) is in the documents."""
    wrong = r"--|\bqiime\b|command|environment variable|Q2_AAM|order given|\bflag\b"
    found = [text for text in texts(PLUGIN.actions[name]) if re.search(wrong, text)]
    assert not found
