"""The plugin as this checkout has it, and a look at it: python plugin_setup.py"""

from importlib.metadata import entry_points
from pathlib import Path

import qiime2
from qiime2.sdk import PluginManager

import q2_aam
from q2_aam.plugin_setup import plugin

__all__ = ["plugin"]

HERE = Path(q2_aam.__file__).resolve().parent


def describe() -> str:
    """List what the plugin registers, and say whether QIIME 2 sees it."""
    lines = [f"{plugin.name} {plugin.version} from {HERE}", "", "Types"]
    lines += [f"  {name}" for name in sorted(plugin.artifact_classes)]
    for kind in ("methods", "visualizers", "pipelines"):
        lines += ["", kind.capitalize()]
        actions = sorted(getattr(plugin, kind).items())
        lines += [f"  {name.replace('_', '-'):32}{action.name}" for name, action in actions]
    return "\n".join([*lines, "", _seen_by_qiime2()])


def _seen_by_qiime2() -> str:
    names = [point.name for point in entry_points(group="qiime2.plugins")]
    if "q2-aam" not in names:
        return (
            f"QIIME 2 {qiime2.__version__} does not see the plugin: run script/bootstrap, or "
            "pip install --no-deps -e . in an environment that has all it needs."
        )
    if PluginManager().plugins.get(plugin.name) is not plugin:
        return f"QIIME 2 {qiime2.__version__} sees another copy of the plugin, not this one."
    return f"QIIME 2 {qiime2.__version__} sees the plugin."


if __name__ == "__main__":
    print(describe())
