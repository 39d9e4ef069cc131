"""Tell what pip would change in an environment of QIIME 2: python script/pip_changes.py FILE…

Each FILE is an environment file as QIIME 2 publishes it, with the versions of all packages: for
example 2026.7/qiime2/released/rachis-qiime2-linux-64-conda.yml of github.com/qiime2/distributions.
Nothing is installed. The packages of the file are written as names and versions into a new virtual
environment, and pip, which asks its index, says what it would do there (``--dry-run``).

Conditions on Python in our dependencies are judged by the Python of the file. Those in their
dependencies are judged by the Python that runs this, as pip has it. It needs Python 3.11.
"""

import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
PYPI_NAMES = {"pytorch": "torch", "python-tzdata": "tzdata", "brotli-python": "brotli"}
# Packages of conda that are no Python packages, or have the name of another one.
NOT_PYTHON = re.compile(r"(r|perl|bioconductor|xorg|font|lib\w*)[-_]|lib|_|(tzdata|attr|brotli)$")


def packages_of(path: Path) -> dict[str, str]:
    """Return the versions of the Python packages of an environment file, and of Python."""
    found = {}
    for line in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
        name, _, version = line.partition("=") if isinstance(line, str) else ("_", "", "")
        if NOT_PYTHON.match(name):
            continue
        try:
            Version(version)
        except InvalidVersion:
            continue
        found[canonicalize_name(PYPI_NAMES.get(name, name))] = version
    return found


def requirements_for(python: str) -> list[str]:
    """Return the dependencies of q2-aam and of its tests for a version of Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    short = ".".join(python.split(".")[:2])
    wanted = []
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"python_version": short}):
            wanted.append(f"{requirement.name}{requirement.specifier}")
    return wanted


def planned(packages: dict[str, str], python: str) -> dict[str, str]:
    """Ask pip which versions it would install beside these packages."""
    with tempfile.TemporaryDirectory() as folder:
        # Debian's pip is too old to ask for another Python.
        tool, environment = Path(folder) / "tool", Path(folder) / "environment"
        venv.create(tool, with_pip=True)
        pip = [tool / "bin" / "python", "-m", "pip", "--quiet"]
        subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
        venv.create(environment)
        (site,) = environment.glob("lib/python*/site-packages")
        for name, version in packages.items():
            info = site / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (info / "METADATA").write_text(text, encoding="utf-8")
        report = Path(folder) / "report.json"
        command = [*pip, "--python", environment / "bin" / "python", "install", "--dry-run"]
        command += ["--report", report, "--only-binary=:all:", "--python-version"]
        command += [".".join(python.split(".")[:2])]
        subprocess.run([*command, *requirements_for(python)], check=True)
        found = [each["metadata"] for each in json.loads(report.read_bytes())["install"]]
    return {canonicalize_name(each["name"]): each["version"] for each in found}


def describe(path: Path) -> str:
    """Say in a line what pip would add to and change in the environment of a file."""
    packages = packages_of(path)
    python = packages.pop("python")
    new = planned(packages, python)
    changed = [f"{n} {packages[n]} -> {new[n]}" for n in sorted(new) if n in packages]
    said = f"it would change {', '.join(changed)}" if changed else "it would change none"
    added = len(new) - len(changed)
    return f"{path.name} (Python {python}): pip would add {added} packages; {said}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(describe(Path(name)), flush=True)
