"""The scripts, run in a copy of the project where what they call is replaced and noted down."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from qiime2.sdk import PluginManager

from q2_aam.core.training.preparation.run_settings import MOST_READS

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ["script/bootstrap", "script/demo", "script/test", ".ci/run"]
# What the scripts may count on everywhere.
TOOLS = (
    *("bash", "cat", "chmod", "cp", "dirname", "env", "find", "getconf", "grep", "id", "mkdir"),
    *("sed", "sha256sum", "sort", "xargs"),
)
FROM_QIIME = {"biom-format", "numpy", "pandas", "scipy"}
FAKE_PYTHON = """
case "$*" in
*sys.prefix*) echo "{prefix}" ;;
--version) echo Python 3.12.1 ;;
esac
"""


class Sandbox:
    """A copy of the project and a PATH with nothing on it but tools and what a test adds."""

    def __init__(self, directory):
        self.root, self.bin, self.log = (directory / name for name in ("copy", "bin", "log"))
        shutil.copytree(ROOT / "script", self.root / "script")
        (self.root / "q2_aam").mkdir()
        for name in ("pyproject.toml", "constraints.txt", "environment.yml"):
            shutil.copy(ROOT / name, self.root)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def stub(self, name, body="", directory=None):
        """Add a program that notes its arguments and then runs a few lines of shell."""
        path = (directory or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho {name} $* >> "{self.log}"\n{body}\n')
        path.chmod(0o755)

    def environment(self, prefix):
        """Make an environment with a Python and a qiime."""
        self.stub("python", FAKE_PYTHON.format(prefix=prefix), prefix / "bin")
        self.stub("qiime", directory=prefix / "bin")
        return prefix

    def active_environment(self):
        prefix = self.environment(self.root.parent / "active")
        (self.bin / "python").symlink_to(prefix / "bin" / "python")
        return prefix

    def run(self, script, *arguments):
        """Run a script; return what it did and the calls that it made."""
        self.log.write_text("")
        done = subprocess.run(
            [self.bin / "bash", self.root / script, *arguments],
            env={"PATH": str(self.bin), "HOME": str(self.root.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, self.log.read_text().splitlines()


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def calls_of(calls, start):
    return [call for call in calls if call.startswith(start)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_is_executable_strict_and_valid(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert "\nset -euo pipefail\n" in path.read_text()
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_scripts_satisfy_shellcheck():
    scripts = [*SCRIPTS, "script/_env"]
    subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, check=True)


def test_bootstrap_without_any_way_says_what_to_do(sandbox):
    done, _ = sandbox.run("script/bootstrap")
    assert done.returncode == 1
    for way in ("activate an environment", "install conda or mamba", "Debian 12"):
        assert way in done.stderr


def test_bootstrap_installs_into_the_active_environment_once(sandbox):
    sandbox.active_environment()
    sandbox.stub("conda", "exit 1")
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 0, done.stderr
    assert calls_of(calls, "python -m pip install") == [
        f"python -m pip install --quiet -e {sandbox.root}[dev]"
    ]
    assert calls_of(calls, "qiime") == ["qiime dev refresh-cache"]
    assert not calls_of(calls, "conda")

    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 0
    assert "ready" in done.stdout
    assert not calls_of(calls, "python -m pip") + calls_of(calls, "qiime")


def test_bootstrap_installs_again_when_the_dependencies_change(sandbox):
    sandbox.active_environment()
    sandbox.run("script/bootstrap")
    with (sandbox.root / "pyproject.toml").open("a") as handle:
        handle.write("\n# changed\n")
    _, calls = sandbox.run("script/bootstrap")
    assert calls_of(calls, "python -m pip install")
    assert not calls_of(calls, "qiime")


def test_bootstrap_refreshes_the_qiime_command_when_the_plugin_changes(sandbox):
    sandbox.active_environment()
    sandbox.run("script/bootstrap")
    (sandbox.root / "q2_aam" / "plugin_setup.py").write_text("changed = True\n")
    _, calls = sandbox.run("script/bootstrap")
    assert calls_of(calls, "qiime") == ["qiime dev refresh-cache"]
    assert not calls_of(calls, "python -m pip install")


def test_bootstrap_tries_again_after_a_failure(sandbox):
    prefix = sandbox.active_environment()
    body = FAKE_PYTHON.format(prefix=prefix)
    sandbox.stub("python", body + '[ "$2" != pip ] || exit 1', prefix / "bin")
    done, _ = sandbox.run("script/bootstrap")
    assert done.returncode != 0
    sandbox.stub("python", body, prefix / "bin")
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 0
    assert calls_of(calls, "python -m pip install")


def test_bootstrap_gives_a_venv_without_qiime_one(sandbox):
    prefix = sandbox.active_environment()
    (prefix / "bin" / "qiime").unlink()
    # The new command runs the environment's Python, here the stub.
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 0, done.stderr
    assert os.access(prefix / "bin" / "qiime", os.X_OK)
    assert calls_of(calls, f"python {prefix}/bin/qiime dev refresh-cache")


@pytest.mark.parametrize("tool", ["conda", "mamba"])
def test_bootstrap_creates_a_conda_environment_once(sandbox, tool):
    prefix = sandbox.root.parent / "envs" / "q2-aam"
    prepared = sandbox.environment(sandbox.root.parent / "prepared")
    sandbox.stub("python", FAKE_PYTHON.format(prefix=prefix), prepared / "bin")
    sandbox.stub(
        tool,
        f"""case "$1 $2" in
        "run -n") [ -d "{prefix}" ] && echo "{prefix}" ;;
        "env create") mkdir -p "{prefix}" && cp -r "{prepared}/bin" "{prefix}" ;;
        esac""",
    )
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 0, done.stderr
    file = sandbox.root / "environment.yml"
    assert f"{tool} env create -n q2-aam -f {file}" in calls
    assert f"python -m pip install --quiet --no-deps -e {sandbox.root}" in calls
    assert "conda activate q2-aam" in done.stdout

    _, calls = sandbox.run("script/bootstrap")
    assert not calls_of(calls, f"{tool} env")
    (sandbox.root / "environment.yml").write_text("name: changed\n")
    _, calls = sandbox.run("script/bootstrap")
    assert calls_of(calls, f"{tool} env") == [f"{tool} env update -n q2-aam -f {file}"]


def test_bootstrap_passes_over_a_python_without_qiime(sandbox):
    sandbox.stub("python", "exit 1")
    sandbox.stub("conda", "exit 1")
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode != 0
    assert calls_of(calls, "conda env create")


def test_bootstrap_asks_apt_as_root_and_only_for_what_is_missing(sandbox):
    # The name of the package asked for comes last.
    sandbox.stub("dpkg-query", 'case "$*" in *q2cli) ;; *) printf installed ;; esac')
    sandbox.stub("apt-cache")
    sandbox.stub("apt-get", '[ "$3" != install ] || exit 9')
    (sandbox.bin / "id").unlink()
    sandbox.stub("id", "echo 1000")
    sandbox.stub("sudo", '"$@"')
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 9
    frontend = "sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -qq"
    assert f"{frontend} update" in calls
    assert f"{frontend} install --no-install-recommends q2cli" in calls


def test_bootstrap_without_sudo_names_the_packages(sandbox):
    sandbox.stub("dpkg-query", "exit 1")
    sandbox.stub("apt-get")
    (sandbox.bin / "id").unlink()
    sandbox.stub("id", "echo 1000")
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 1
    assert "apt-get install qiime q2-types" in done.stderr
    assert not calls_of(calls, "apt-get")


def test_bootstrap_on_a_debian_without_qiime_points_to_conda(sandbox):
    sandbox.stub("dpkg-query", "exit 1")
    sandbox.stub("apt-get")
    sandbox.stub("apt-cache", "exit 100")
    (sandbox.bin / "id").unlink()
    sandbox.stub("id", "echo 0")
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 1
    assert "install conda or mamba" in done.stderr
    assert calls_of(calls, "apt-get") == ["apt-get -y -qq update"]


def test_bootstrap_leaves_a_foreign_venv_alone(sandbox):
    sandbox.stub("dpkg-query", "printf installed")
    sandbox.stub("apt-get")
    foreign = sandbox.environment(sandbox.root / ".venv")
    (foreign / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    done, calls = sandbox.run("script/bootstrap")
    assert done.returncode == 1
    assert "move it away" in done.stderr
    assert not calls_of(calls, "python -m pip install")
    assert (foreign / "pyvenv.cfg").exists()


def test_test_script_passes_arguments_on_and_exits_as_pytest_does(sandbox):
    prefix = sandbox.active_environment()
    body = FAKE_PYTHON.format(prefix=prefix) + '[ "$2" != pytest ] || exit 3'
    sandbox.stub("python", body, prefix / "bin")
    sandbox.stub("ruff", directory=prefix / "bin")
    done, calls = sandbox.run("script/test", "-m", "slow")
    assert done.returncode == 3
    assert calls[-3:] == ["ruff check .", "ruff format --check .", "python -m pytest -m slow"]


def test_demo_uses_options_that_the_actions_have(sandbox):
    from q2_aam.plugin_setup import plugin

    sandbox.active_environment()
    done, calls = sandbox.run("script/demo", str(sandbox.root / "out"))
    assert done.returncode == 0, done.stderr
    used = {}
    for call in calls_of(calls, "qiime aam "):
        _, _, name, *words = call.split()
        used[name] = {w.lstrip("-").replace("-", "_") for w in words if w.startswith("--")}
    assert set(used) == {
        "pretrain",
        "train-regressor",
        "predict-regression",
        "train-classifier",
        "predict-classification",
    }
    for name, options in used.items():
        signature = plugin.actions[name.replace("-", "_")].signature
        known = {f"i_{i}" for i in signature.inputs} | {f"o_{o}" for o in signature.outputs}
        known |= {f"p_{p}" for p in signature.parameters}
        known |= {f"m_{p}_{end}" for p in signature.parameters for end in ("file", "column")}
        assert options <= known | {"verbose"}
        assert {f"o_{o}" for o in signature.outputs} <= options
        assert ("verbose" in options) == (
            name in ("pretrain", "train-regressor", "train-classifier")
        )


def test_the_samples_of_the_demo_have_as_many_reads_as_the_defaults_take():
    """So the first command of README works on the demo's table, too."""
    text = (ROOT / "script" / "demo").read_text(encoding="utf-8")
    assert int(re.search(r"simulate \. .* --depth (\d+) ", text)[1]) >= MOST_READS


@pytest.mark.slow
def test_demo_beats_the_baselines(tmp_path):
    done = subprocess.run(
        [ROOT / "script" / "demo", tmp_path], capture_output=True, text=True, check=True
    )
    scores = dict(re.findall(r"(R2|accuracy)\s+(-?[\d.]+)", done.stdout))
    assert float(scores["R2"]) > 0.2
    assert float(scores["accuracy"]) > 0.5


def test_qiime_of_this_environment_goes_by_its_name():
    qiime = Path(sys.prefix) / "bin" / "qiime"
    if not qiime.exists():
        pytest.skip("this environment has no qiime; script/bootstrap writes it")
    done = subprocess.run([qiime, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: qiime [OPTIONS]" in done.stdout


def requirement_names(lines):
    return {re.match(r"[\w.-]+", line).group() for line in lines if not line.startswith("#")}


def test_environments_hold_the_dependencies_of_the_package():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = requirement_names(project["dependencies"]) - FROM_QIIME
    needed = {"pytorch" if name == "torch" else name for name in needed}
    development = requirement_names(project["optional-dependencies"]["dev"])

    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    names = requirement_names(conda["dependencies"])
    assert needed | development | {"rachis-qiime2", "pip"} <= names

    pinned = requirement_names((ROOT / "constraints.txt").read_text().split("\n\n")[0].split("\n"))
    assert needed - {"pytorch"} | development | {"torch"} <= pinned


@pytest.mark.parametrize(
    "path", sorted((ROOT / "environment-files").glob("*.yml")), ids=lambda path: path.name
)
def test_library_environment_is_the_environment_without_name_and_tests(path):
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    library = yaml.safe_load(path.read_text())
    assert "name" not in library
    assert library["channels"][1:] == conda["channels"][1:]  # the first is of the release
    packages = [d for d in library["dependencies"] if isinstance(d, str)]
    extra = requirement_names(conda["dependencies"]) - requirement_names(packages)
    assert extra == {"hypothesis", "pytest", "ruff"}
    assert set(packages) <= set(conda["dependencies"])


# ---- plugin_setup.py ---------------------------------------------------------------------------


def test_plugin_setup_lists_what_the_checkout_registers():
    done = subprocess.run(
        [sys.executable, ROOT / "plugin_setup.py"], capture_output=True, text=True, check=True
    )
    manager = PluginManager()
    registered = manager.plugins["aam"]
    for name in registered.artifact_classes:
        assert f"  {name}\n" in done.stdout
    for action in registered.actions.values():
        assert f"  {action.id.replace('_', '-')} " in done.stdout
        assert action.name in done.stdout
    assert done.stdout.startswith(f"aam {registered.version} from {ROOT / 'q2_aam'}\n")
    assert done.stdout.endswith("sees the plugin.\n")


def test_plugin_setup_says_where_qiime2_does_not_see_the_plugin(tmp_path):
    """Isolated from the environment's entry points, the checkout is still described."""
    program = (
        "import importlib.metadata as metadata\n"
        "metadata.entry_points = lambda group: []\n"
        "import plugin_setup\n"
        "print(plugin_setup.describe())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "does not see the plugin: run script/bootstrap" in done.stdout
