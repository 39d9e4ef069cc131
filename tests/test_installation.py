"""Installing beside QIIME 2: the bounds leave what its releases have, and files name releases."""

import importlib.util
import re

import pytest
import yaml
from documents import ROOT

from q2_aam.core.artifact.shipped import encoder

tomllib = pytest.importorskip("tomllib")
requirements = pytest.importorskip("packaging.requirements")

# From the environment files of these releases (Debian 12 has 2022.11): what q2-aam asks for, and
# what its dependencies ask for.
RELEASES = {
    "2022.11": {"python": "3.11", "numpy": "1.24.2", "pandas": "1.5.3", "scipy": "1.10.1"},
    "2024.10": {
        "python": "3.10", "numpy": "1.26.4", "pandas": "2.2.2", "scipy": "1.13.0",
        "altair": "5.4.1", "pytest": "8.3.3", "setuptools": "75.1.0", "protobuf": "3.20.3",
        "packaging": "24.1", "typing-extensions": "4.12.2", "networkx": "3.1",
    },
    "2025.10": {
        "python": "3.10", "numpy": "1.26.4", "pandas": "2.2.2", "scipy": "1.13.0",
        "altair": "5.5.0", "pytest": "8.4.2", "setuptools": "80.9.0",
        "packaging": "25.0", "typing-extensions": "4.15.0", "networkx": "3.1",
    },
    "2026.4": {
        "python": "3.12", "numpy": "2.4.2", "pandas": "2.3.3", "scipy": "1.17.1",
        "altair": "6.0.0", "pytest": "9.0.3", "setuptools": "82.0.1",
        "packaging": "26.1", "typing-extensions": "4.15.0", "networkx": "3.6.1",
    },
    "2026.7": {
        "python": "3.12", "numpy": "2.4.2", "pandas": "2.3.3", "scipy": "1.17.1",
        "altair": "6.2.2", "pytest": "9.1.1", "setuptools": "83.0.0",
        "packaging": "26.2", "typing-extensions": "4.16.0", "networkx": "3.6.1",
    },
}  # fmt: skip
# The newest versions, which pip takes if nothing holds them, and what they ask for.
NEWEST = [
    ("torch", "2.14.1", ["setuptools>=77.0.3", "typing-extensions>=4.10.0", "networkx>=2.5.1"]),
    ("torch", "2.13.0", ["setuptools>=77.0.3", "typing-extensions>=4.10.0", "networkx>=2.5.1"]),
    ("tensorboard", "2.21.0", ["protobuf<8.0.0,>=6.31.1", "setuptools>=41.0.0"]),
    ("lightning", "2.6.6", ["packaging<27.0,>=23.0", "typing-extensions<6.0,>4.5.0"]),
]


def wanted(python):
    """List what q2-aam and its tests ask for under a version of Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    found = [requirements.Requirement(line) for line in lines]
    return [r for r in found if r.marker is None or r.marker.evaluate({"python_version": python})]


def allowed(name, version, python):
    return all(r.specifier.contains(version) for r in wanted(python) if r.name == name)


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_has_is_enough(release):
    has = RELEASES[release]
    for requirement in wanted(has["python"]):
        if requirement.name in has:
            assert requirement.specifier.contains(has[requirement.name]), requirement
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (python,) = requirements.Requirement(f"python{project['requires-python']}").specifier
    assert python.contains(has["python"])


@pytest.mark.parametrize("release", [name for name in RELEASES if name != "2022.11"])
@pytest.mark.parametrize(("name", "version", "asks"), NEWEST)
def test_what_replaces_a_package_of_a_release_is_not_taken(release, name, version, asks):
    has = RELEASES[release]
    asked = [requirements.Requirement(line) for line in asks]
    replaces = [r for r in asked if r.name in has and not r.specifier.contains(has[r.name])]
    assert allowed(name, version, has["python"]) <= (not replaces)


@pytest.mark.parametrize("python", sorted({has["python"] for has in RELEASES.values()}))
def test_bounds_of_a_python_leave_some_version(python):
    assert allowed("torch", "2.12.1", python)
    assert allowed("tensorboard", "2.20.0", python)


# ---- script/pip_changes.py ---------------------------------------------------------------------


@pytest.fixture
def pip_changes():
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location(
        "pip_changes", ROOT / "script" / "pip_changes.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENVIRONMENT = """
channels:
- conda-forge
dependencies:
- python=3.10.14
- altair=5.4.1
- pytorch=2.4.0
- python-tzdata=2024.2
- tzdata=2024b
- r-base=4.3.3
- libpng=1.6.43
- _openmp_mutex=4.5
- importlib_metadata=8.5.0
- pip
- pip:
  - q2-other
"""


def test_packages_of_takes_python_packages_by_their_names_on_the_index(pip_changes, tmp_path):
    path = tmp_path / "environment.yml"
    path.write_text(ENVIRONMENT)
    assert pip_changes.packages_of(path) == {
        "python": "3.10.14",
        "altair": "5.4.1",
        "torch": "2.4.0",
        "tzdata": "2024.2",
        "importlib-metadata": "8.5.0",
    }


def test_requirements_are_those_of_the_python_of_the_environment(pip_changes):
    older, newer = (pip_changes.requirements_for(python) for python in ("3.10.14", "3.12.13"))
    assert set(newer) < set(older)
    assert set(older) - set(newer) == {"tensorboard<2.21", "torch<2.13"}
    assert "lightning<2.7,>=2.6" in newer


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        ({"lightning": "2.6.6"}, "pip would add 1 packages; it would change none"),
        (
            {"lightning": "2.6.6", "altair": "6.2.2"},
            "pip would add 1 packages; it would change altair 5.4.1 -> 6.2.2",
        ),
    ],
)
def test_changes_are_told_from_additions(planned, said, pip_changes, tmp_path, monkeypatch):
    path = tmp_path / "environment.yml"
    path.write_text(ENVIRONMENT)
    monkeypatch.setattr(pip_changes, "planned", lambda packages, python: planned)
    assert pip_changes.describe(path) == f"environment.yml (Python 3.10.14): {said}"


# ---- environment files -------------------------------------------------------------------------

FILES = sorted((ROOT / "environment-files").glob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_environment_file_is_of_the_release_in_its_name(path):
    release = re.fullmatch(r"q2-aam-rachis-qiime2-(\d{4}\.\d+)\.yml", path.name)[1]
    text = path.read_text()
    assert set(re.findall(r"\d{4}\.\d+", text)) == {release}
    channel = f"https://packages.qiime2.org/qiime2/{release}/qiime2/released"
    assert yaml.safe_load(text)["channels"] == [channel, "conda-forge", "bioconda"]


def test_environment_is_of_the_newest_release_with_a_file():
    newest = max(FILES, key=lambda path: [int(n) for n in re.findall(r"\d+", path.stem)[2:]])
    here = yaml.safe_load((ROOT / "environment.yml").read_text())["channels"]
    assert here == yaml.safe_load(newest.read_text())["channels"]


def test_the_encoder_that_ships_is_in_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    taken = set()
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        taken |= {path for pattern in patterns for path in folder.glob(pattern)}
    assert set(encoder.DIRECTORY.iterdir()) <= taken
