"""Every action has a usage example, and every example runs."""

import pytest
import qiime2
from heavy_imports import FRAMEWORK, heavy_imports
from qiime2.plugins import ArtifactAPIUsage
from qiime2.sdk import usage

from q2_aam.registration import examples

TYPED_BY_INPUT = ("combine_models", "merge_predictions")
"""Actions whose output has the type of their input."""


def actions():
    return qiime2.sdk.PluginManager().plugins["aam"].actions


@pytest.mark.parametrize("name", sorted(actions()))
def test_action_has_an_example_that_runs(name):
    action = actions()[name]
    assert action.examples, f"q2_aam/_examples.py has no example of {name}"
    for example in action.examples.values():
        use = usage.ExecutionUsage()
        example(use)
        made = use.render()
        kinds = [spec.qiime_type for spec in action.signature.outputs.values()]
        expected = {str(kind) for kind in kinds if kind.name != "Collection"}
        found = {str(variable.value.type) for variable in made.values() if is_result(variable)}
        if name not in TYPED_BY_INPUT:
            assert expected <= found


def test_there_are_no_examples_of_other_actions():
    assert set(examples.EXAMPLES) == set(actions())


def is_result(variable):
    return variable.var_type in ("artifact", "visualization")


@pytest.mark.parametrize("name", sorted(examples.EXAMPLES))
def test_example_calls_one_action(name):
    called = []

    class Counting(usage.DiagnosticUsage):
        def action(self, action, inputs, outputs):
            called.append(action.action_id)
            return super().action(action, inputs, outputs)

    for example in examples.EXAMPLES[name].values():
        example(Counting())
    assert called == [name] * len(examples.EXAMPLES[name])


def test_examples_make_nothing_when_they_are_registered():
    program = (
        "import sys, q2_aam.registration.examples, q2_aam.registration.example_data as e; "
        "assert e._simulation.cache_info().currsize == 0; "
        "assert 'q2_aam.core.data.simulate' not in sys.modules"
    )
    assert heavy_imports(program, FRAMEWORK) == []


@pytest.mark.parametrize("name", sorted(examples.EXAMPLES))
def test_example_is_shown(name):
    use = ArtifactAPIUsage()
    for example in examples.EXAMPLES[name].values():
        example(use)
    assert f"aam_actions.{name}(" in use.render()
