"""Write docs/parameters.md from what the plugin registers: python script/reference.py."""

from pathlib import Path

from qiime2.sdk import util

from q2_aam.actions.parameters import LEFT_TO_STEPS, PretrainingOverrides, parameter_types
from q2_aam.core.options import config
from q2_aam.core.options.option import option_infos
from q2_aam.plugin_setup import plugin

PATH = Path(__file__).resolve().parent.parent / "docs" / "parameters.md"
HEAD = """# Actions and parameters

`python script/reference.py` writes this page from the registered plugin. A test compares them.

Names are as in Python (`from qiime2.plugins import aam`). On the command line they have hyphens
and a prefix:

- `--i-table` for an input;
- `--p-batch-size` for a parameter;
- `--p-freeze-base` and `--p-no-freeze-base` for a parameter that is yes or no;
- `--m-metadata-file` and `--m-metadata-column`, both, for a metadata column;
- `--o-encoder` for an output.

A parameter without a default must be given, unless it is optional.
"""
# Configuration classes by the heading under which their options stand, in this order.
GROUPS = {
    "The model": config.ModelConfig,
    "The samples": config.DataConfig,
    "The phylogeny": config.UniFracConfig,
    "Training": config.TrainConfig,
    "What a model keeps": config.RecordConfig,
    "Training on a numeric column": config.RegressionConfig,
    "Training on a categorical column": config.ClassificationConfig,
    "Pre-training within a pipeline": PretrainingOverrides,
}
KINDS = {"method": "methods", "pipeline": "pipelines", "visualizer": "visualizers"}


def reference() -> str:
    """Describe all actions of the plugin, and the options that several of them take."""
    actions = sorted(plugin.actions.values(), key=lambda action: list(KINDS).index(action.type))
    rows = [
        [_link(_dashed(action.id)), action.type, action.name.replace("|", r"\|")]
        for action in actions
    ]
    parts = [HEAD, _table(["Action", "Kind", "What it does"], rows)]
    parts += [_action(action) for action in actions]
    parts += ["## Options that several actions take\n"]
    parts += [_group(heading, actions) for heading in GROUPS]
    return "\n".join(parts)


def _action(action) -> str:
    signature = action.signature
    groups = [heading for heading in GROUPS if _takes(action, heading)]
    shared = {name for heading in groups for name in _names(heading)}
    own = {name: spec for name, spec in signature.parameters.items() if name not in shared}
    parts = [f"## {_dashed(action.id)}\n", f"{action.name}. {action.description}\n"]
    parts.append(_artifacts_table("Input", signature.inputs))
    if own:
        parts.append(_parameters_table(own))
    if groups:
        links = ", ".join(_link(heading) for heading in groups)
        parts.append(f"It also takes the options of: {links}.\n")
    # Collections are told of in the description: not every release of QIIME 2 has them.
    outputs = signature.outputs.items()
    always = {name: spec for name, spec in outputs if spec.qiime_type.name != "Collection"}
    parts.append(_artifacts_table("Output", always))
    return "\n".join(parts)


def _group(heading: str, actions) -> str:
    takers = [action for action in actions if _takes(action, heading)]
    told = {}
    for action in takers:
        parameters = action.signature.parameters
        if all(name in parameters for name in _names(heading)):
            specs = {name: parameters[name] for name in _names(heading)}
            told[_parameters_table(specs)] = action.id
    if len(told) != 1:
        raise ValueError(f"{', '.join(told.values())} differ in the options of '{heading}'.")
    links = ", ".join(_link(_dashed(action.id)) for action in takers)
    left = [f"`{name}`" for name in _names(heading) if name in LEFT_TO_STEPS]
    note = f" The pipelines do not take {' and '.join(left)}." if left else ""
    return f"### {heading}\n\nOptions of {links}.{note}\n\n{next(iter(told))}"


def _names(heading: str) -> list[str]:
    return list(option_infos(GROUPS[heading]))


def _takes(action, heading: str) -> bool:
    """Whether an action has the options of a group, with the choices that the group has."""
    parameters = action.signature.parameters
    types = parameter_types([GROUPS[heading]])
    return all(
        parameters[name].qiime_type == kind if name in parameters else name in LEFT_TO_STEPS
        for name, kind in types.items()
    )


def _artifacts_table(what: str, specs: dict) -> str:
    rows = [[f"`{name}`", _semantic(spec), _text(spec)] for name, spec in specs.items()]
    return _table([what, "Type", "Meaning"], rows)


def _parameters_table(specs: dict) -> str:
    rows = [
        [f"`{name}`", _values(spec.qiime_type), _default(spec), _text(spec)]
        for name, spec in specs.items()
    ]
    return _table(["Parameter", "Values", "Default", "Meaning"], rows)


def _values(qiime_type) -> str:
    """Say in words what a parameter can be."""
    if util.is_metadata_column_type(qiime_type):
        kinds = sorted(str(kind) for kind in qiime_type.fields[0])
        return f"{' or '.join(kinds).lower()} metadata column"
    if util.is_metadata_type(qiime_type):
        return "metadata"
    if qiime_type.name == "List":
        return f"list of {_values(qiime_type.fields[0])}"
    predicate = qiime_type.predicate
    if qiime_type.name == "Str":
        if predicate is None:
            return "text"
        return ", ".join(f"`{choice}`" for choice in predicate.template.choices)
    if qiime_type.name == "Bool":
        return "yes, no"
    kind = {"Int": "whole number", "Float": "number"}[qiime_type.name]
    return kind if predicate is None else f"{kind}{_bounds(predicate.template)}"


def _bounds(limits) -> str:
    least, most = (f"{bound:.10g}" for bound in (limits.start, limits.end))
    return f" from {least}" if most == "inf" else f" from {least} to {most}"


def _default(spec) -> str:
    if not spec.has_default():
        return "must be given"
    if spec.default is None:
        return "optional"
    if isinstance(spec.default, bool):
        return "yes" if spec.default else "no"
    return f"`{spec.default}`"


def _semantic(spec) -> str:
    optional = " (optional)" if spec.has_default() else ""
    return f"`{spec.qiime_type}`{optional}".replace("|", r"\|")


def _text(spec) -> str:
    return spec.description.replace("|", r"\|") if spec.has_description() else "–"


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _link(heading: str) -> str:
    return f"[{heading}](#{heading.lower().replace(' ', '-')})"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")
