"""Which heavy libraries q2_aam loads, where other libraries may have loaded them by themselves.

From version 0.7.4, scikit-bio imports PyTorch if it is installed. So the name of a library among
the loaded modules does not tell who asked for it.
"""

import json
import subprocess
import sys

HEAVY = ("torch", "lightning", "torchmetrics", "sklearn", "tensorboard", "altair", "unifrac")
LIGHT = "biom, h5py, pandas, scipy.sparse, skbio"
FRAMEWORK = (
    "qiime2.plugin, q2_types.feature_table, q2_types.feature_data, q2_types.sample_data, "
    "q2_types.tree, q2_sample_classifier"
)
PROGRAM = """
import builtins, json, sys, types
heavy, others, loaded, statement = json.loads(sys.argv[1])
if others:
    exec(f"import {others}")
for name in loaded:
    sys.modules.setdefault(name, types.ModuleType(name))
before, asked, load = set(sys.modules), [], builtins.__import__


def watch(name, globals=None, locals=None, fromlist=(), level=0):
    asker = (globals or {}).get("__name__") or ""
    if asker.split(".")[0] == "q2_aam" and name.split(".")[0] in heavy:
        asked.append(f"{asker} imports {name}")
    return load(name, globals, locals, fromlist, level)


builtins.__import__ = watch
exec(statement, {"__name__": "__main__"})
new = {name.split(".")[0] for name in set(sys.modules) - before} & set(heavy)
print(json.dumps(asked + [f"{name} is loaded" for name in sorted(new)]))
"""


def heavy_imports(statement: str, others: str = "", loaded: tuple[str, ...] = ()) -> list[str]:
    """List the heavy libraries that are loaded for q2_aam while a statement runs.

    Parameters
    ----------
    statement : str
        Python code; it runs in a process of its own.
    others : str
        Libraries that q2_aam may import, separated by commas. What these load is not counted.
    loaded : tuple of str
        Heavy libraries that another one is taken to have loaded. They are empty modules.

    Returns
    -------
    list of str
        Which module of q2_aam imports one, and which are loaded that were not before.
    """
    given = json.dumps([HEAVY, others, loaded, statement])
    done = subprocess.run([sys.executable, "-c", PROGRAM, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
