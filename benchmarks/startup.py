"""What the plugin costs those who do not use it: the time of `qiime --help` with and without it.

Without it means that its entry point is hidden from the framework in that process. Each is run
several times in turn, after one run that does not count; the fastest is compared, since other
programs can only make a run slower. The import alone is timed beside, with what QIIME 2 and the
plugins that it needs take.
"""

import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks._report import parser, report

WITH = """
from q2cli.__main__ import qiime
qiime(['--help'])
"""
WITHOUT = """
import importlib.metadata
import pkg_resources
whole = pkg_resources.iter_entry_points
pkg_resources.iter_entry_points = lambda group, name=None: (
    point for point in whole(group, name) if point.name != 'q2-aam')
"""
IMPORTS = {
    "what the plugin rests on": "import qiime2.plugin, q2_types, q2_sample_classifier, decorator",
    "the plugin too": "import q2_aam.plugin_setup",
}


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    programs = {
        "qiime --help, without the plugin": WITHOUT + WITH,
        "qiime --help, with it": WITH,
        "qiime aam --help": WITH.replace("'--help'", "'aam', '--help'"),
    } | {f"import: {name}": program for name, program in IMPORTS.items()}
    seconds = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(args.runs + 1):
            for name, program in programs.items():
                start = time.perf_counter()
                _run(program, os.path.join(home, str(WITHOUT in program)))
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    rows = [
        {"command": name, "seconds, fastest": min(s), "seconds, median": float(np.median(s))}
        for name, s in seconds.items()
    ]
    rows.append(
        {"command": "with / without"}
        | {name: rows[1][name] / rows[0][name] for name in rows[0] if name != "command"}
    )
    report("startup", rows, args.json, runs=args.runs)


def _run(program: str, home: str) -> None:
    """Run a program; what q2cli keeps of the plugins that it found lies in a home of its own."""
    env = {**os.environ, "PYTHONWARNINGS": "ignore", "XDG_CONFIG_HOME": home}
    env.pop("CONDA_PREFIX", None)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=env)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())


def _parser():
    made = parser(__doc__)
    made.add_argument("--runs", type=int, default=7)
    return made


if __name__ == "__main__":
    main()
