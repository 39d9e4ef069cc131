"""What the documents say is so: commands run, messages exist, links lead somewhere."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import qiime2
import yaml
from documents import DOCS, ROOT, blocks, prose, rows

import q2_aam
from q2_aam.actions.parameters import CLASSIFICATION, REGRESSION
from q2_aam.core.options.option import option_infos

TUTORIAL = ROOT / "docs" / "tutorial.md"
# The tutorial up to the first prediction that is looked at, without the second section, whose
# model has the usual size; all of it takes minutes.
FIRST_PATH = ("1.", "3.", "4.", "5.", "6.")


def plugin_actions():
    return qiime2.sdk.PluginManager().plugins["aam"].actions


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Return the environment of a shell in which `qiime` is that of this Python."""
    home = tmp_path_factory.mktemp("home")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # With a home of its own, q2cli makes its cache anew and knows the plugin as it is now.
    return {**os.environ, "PATH": path, "HOME": str(home), "MPLBACKEND": "Agg"}


def run(code, directory, shell):
    """Run commands as they are typed, and stop at the first that fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=directory,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


# ---- the tutorial ------------------------------------------------------------------------------


def commands(sections=None):
    """List the commands of the tutorial that the plugins here can run."""
    return [
        block.code
        for block in blocks(TUTORIAL, "bash")
        if (sections is None or block.section.startswith(sections))
        and (not block.needs or block.needs in qiime2.sdk.PluginManager().plugins)
    ]


def exported(name, directory):
    """Export a visualization, and return the directory of its files."""
    qiime2.Visualization.load(str(directory / name)).export_data(str(directory / "exported"))
    return directory / "exported"


def test_the_tutorial_leads_to_a_prediction_that_can_be_looked_at(tmp_path, shell):
    for code in commands(FIRST_PATH):
        run(code, tmp_path, shell)
    scores = pd.read_csv(exported("ages.qzv", tmp_path) / "scores.tsv", sep="\t", index_col=0)
    assert scores["value"]["r2"] > 0.5
    page = (tmp_path / "exported" / "index.html").read_text(encoding="ascii")
    assert "In 50 samples, predictions of age are off by" in page


@pytest.mark.slow
def test_the_whole_tutorial_runs(tmp_path, shell):
    for code in commands():
        run(code, tmp_path, shell)
    made = {path.name for path in tmp_path.glob("*.qzv")}
    assert {"sites.qzv", "fold-scores.qzv", "embeddings.qzv", "heatmap.qzv"} <= made
    sites = exported("sites.qzv", tmp_path) / "scores.tsv"
    assert pd.read_csv(sites, sep="\t", index_col=0)["value"]["accuracy"] > 0.5


def test_every_command_of_the_tutorial_is_run():
    assert len(commands(FIRST_PATH)) >= 6
    languages = re.findall(r"^```(\w+)", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(languages) == {"bash"}
    assert {block.needs for block in blocks(TUTORIAL, "bash")} == {"", "diversity"}


@pytest.mark.parametrize("path", [ROOT / "README.md", TUTORIAL], ids=lambda path: path.name)
def test_commands_that_take_long_show_how_far_they_are(path):
    code = "\n".join(block.code for block in blocks(path, "bash")).replace("\\\n", " ")
    names = r"(pretrain|train-\w+|\w+-samples|cross-validate-\w+)"
    long = [line for line in code.splitlines() if re.match(rf"qiime aam {names} ", line)]
    assert len(long) >= 4
    assert all("--verbose" in line for line in long)


# ---- Python ------------------------------------------------------------------------------------


def test_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(ROOT / "docs" / "python.md", "python"):
        exec(compile(block.code, f"docs/python.md, {block.section}", "exec"), names)
    assert names["error"] < 25
    assert names["probabilities"].shape == (len(names["test"]), 3)
    assert names["found"].importance.shape[1] == 1
    assert list(names["model"].history["epoch"]) == [1, 2, 3, 4, 5]
    assert (tmp_path / "evaluation.qzv").is_file()
    assert names["r2"].shape == (5,)
    assert names["vectors"].shape == (15, 16)
    assert "aam_actions.predict_regression(" in names["use"].render()


# ---- messages ----------------------------------------------------------------------------------


def template(node) -> str | None:
    """Return a text of the source, with … where something is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-.\d]*[a-z]", "…", node.value).replace("%%", "%")
    if isinstance(node, ast.JoinedStr):
        parts = node.values  # noqa: PD011
        return "".join(template(part) or "…" for part in parts)
    return None


@cache
def texts_of_the_source():
    """List every text in the package."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "q2_aam").rglob("*.py")]
    found = {template(node) for tree in trees for node in ast.walk(tree)}
    return [text for text in found if text]


def quoted_messages():
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    return re.findall(r"^> (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("message", quoted_messages())
def test_quoted_message_is_that_of_the_program(message):
    fixed = [part.strip() for part in message.split("…")]
    said = ".*".join(re.escape(part) for part in fixed if len(part) > 1)
    assert any(re.search(said, text, re.DOTALL) for text in texts_of_the_source())


def test_messages_are_quoted():
    assert len(quoted_messages()) > 25


# ---- options and parameters --------------------------------------------------------------------


def script(name):
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "script" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parameters_are_those_registered():
    reference = script("reference")
    written = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert written == reference.reference(), "run: python script/reference.py"


def test_every_parameter_is_in_the_reference():
    named = {row[0] for row in rows(ROOT / "docs" / "parameters.md")}
    for action in plugin_actions().values():
        assert {f"`{name}`" for name in action.signature.signature_order} <= named


def flags_of(action):
    """List the options of an action on the command line."""
    signature = action.signature
    flags = {f"--i-{name}" for name in signature.inputs}
    flags |= {f"--o-{name}" for name in signature.outputs}
    for name, spec in signature.parameters.items():
        if "Metadata" in str(spec.qiime_type):
            flags |= {f"--m-{name}-file", f"--m-{name}-column"}
        else:
            flags |= {f"--p-{name}", f"--p-no-{name}"}
    return {flag.replace("_", "-") for flag in flags}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_options_named_in_documents_exist(path):
    known = set()
    for plugin in qiime2.sdk.PluginManager().plugins.values():
        for action in plugin.actions.values():
            known |= flags_of(action)
    here = qiime2.sdk.PluginManager().plugins
    codes = [block.code for block in blocks(path, "bash") if block.needs in ("", *here)]
    named = re.findall(r"--[iopm]-[a-z][a-z-]*", "\n".join([prose(path), *codes]))
    # The last two tell how names are written.
    assert {name.rstrip("-") for name in named} <= known | {"--p-x", "--p-no-x"}


def training_options():
    infos = {}
    for config in {*REGRESSION, *CLASSIFICATION}:
        infos |= option_infos(config)
    return infos


def test_every_training_option_stands_beside_that_of_aam():
    text = (ROOT / "docs" / "from-aam.md").read_text(encoding="utf-8")
    for name in training_options():
        assert f"`--p-{name.replace('_', '-')}`" in text, name


# Options of pretrain, train, predict and rf-baseline of jbk708/aam in January 2026.
OPTIONS_OF_AAM = """
asv-chunk-size asv-sampling attention-heads attention-layers attn-implementation auto-batch-size
batch-size best-metric bounded-targets categorical-columns categorical-embed-dim categorical-fusion
categorical-help categorical-loss-weight-column categorical-loss-weights categorical-lr
class-weights classifier compile-model conditional-output-scaling count-embedding
count-embedding-method count-penalty count-prediction cross-attn-heads data-parallel device
distributed embedding-dim epochs freeze-base fsdp fsdp-sharded-checkpoint
gradient-accumulation-steps gradient-checkpointing learnable-output-scale log-transform-targets
loss-config loss-type lr max-bp max-features max-grad-norm max-memory-fraction memory-profile
metadata metadata-column mixed-precision model n-estimators n-jobs no-sequence-cache normalize-by
normalize-targets normalize-targets-by nuc-mask-ratio nuc-mask-strategy nuc-penalty num-workers
optimizer out-dim output output-activation output-dir output-variance over-penalty patience penalty
perceiver-num-latents perceiver-num-layers prediction-passes pretrained-encoder quantiles
random-seed rarefy-depth regressor-dropout regressor-hidden-dims residual-regression-head
resume-from scheduler scheduler-eta-min scheduler-factor scheduler-min-lr scheduler-patience
scheduler-t-mult scheduler-t0 seed sync-batchnorm table target-effective-batch-size
target-layer-norm target-penalty target-transform test-size tf32 token-limit train-samples
under-penalty unifrac-matrix unifrac-metric use-expandable-segments val-prediction-passes
val-samples warmup-steps weight-decay
"""


def test_every_option_of_aam_has_an_answer():
    answered = set()
    for row in rows(ROOT / "docs" / "from-aam.md"):
        if len(row) > 1 and row[1]:
            answered |= set(re.findall(r"--(?:no-(?!seq))?([a-z][a-z0-9-]*)", row[0]))
    assert set(OPTIONS_OF_AAM.split()) <= answered


def test_defaults_beside_those_of_aam_are_ours():
    compared = 0
    for row in rows(ROOT / "docs" / "from-aam.md"):
        option = re.fullmatch(r"`--p-([a-z-]+)`", row[1]) if len(row) == 5 else None
        if option:
            default = training_options()[option[1].replace("-", "_")].default
            shown = "–" if default is None else str(default)
            assert row[3] == {"True": "yes", "False": "no"}.get(shown, shown), option[1]
            compared += 1
    assert compared > 40


# ---- links -------------------------------------------------------------------------------------


def anchors(path):
    """List what the headings of a file are called in links."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def test_every_page_can_be_found_from_the_readme():
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        found.add(path)
        for target in re.findall(r"\]\(([^)\s#]+\.md)", prose(path)):
            place = (path.parent / target).resolve()
            if place.exists() and place not in found:
                waiting.append(place)
    assert set(DOCS) <= found


def test_citation_and_changes_are_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (q2_aam.__version__, "BSD-3-Clause")
    assert cited["authors"] == [{"name": "The q2-aam developers"}]
    assert f"\n## {q2_aam.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
