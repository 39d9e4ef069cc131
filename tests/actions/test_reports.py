"""Messages on their way to the user of QIIME 2."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import qiime2

from q2_aam.actions.reports import reporting, reports_as_one
from q2_aam.core.artifact import model_directory
from q2_aam.core.data import messages
from q2_aam.core.data.metadata import warn_if_few, with_values
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.types.models import AAMModelDirectoryFormat

# What the command line of QIIME 2 does around an action.
COMMAND = """
import logging, sys, tempfile
import q2cli
from qiime2.util import redirected_stdio
from q2_aam.actions.reports import reporting
log = tempfile.NamedTemporaryFile("w") if "--verbose" not in sys.argv else None
with redirected_stdio(stdout=log, stderr=log), reporting():
    for name in "core.a", "core.a", "core.b":
        logging.getLogger(f"q2_aam.{name}").warning("of %s", name)
    logging.getLogger("q2_aam.core.a").info("a step")
print("Saved")
"""


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("", ["WARNING: of core.a", "WARNING: of core.b"]),
        ("--quiet", []),
        ("--verbose", [*["WARNING: of core.a"] * 2, "WARNING: of core.b", "INFO: a step"]),
    ],
)
def test_warnings_reach_the_user_of_the_command_line(flag, said):
    command = [sys.executable, "-c", COMMAND, flag]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "Saved\n"
    assert done.stderr.splitlines() == said


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Write the files of a study: long sequences, and four shallow samples of forty."""
    folder = tmp_path_factory.mktemp("study")
    config = SimulationConfig(
        n_samples=40, n_features=40, n_bp=60, depth=200, seed=1, shallow=0.1, hashed_ids=False
    )
    data = simulate(config)
    qiime2.Artifact.import_data("FeatureTable[Frequency]", data.table).save(str(folder / "table"))
    data.metadata.to_csv(folder / "metadata.tsv", sep="\t")
    return folder


def qiime(folder, *words):
    """Run a command as it is typed, without --verbose."""
    home = folder / "home"
    place = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    return subprocess.run(
        [str(Path(sys.executable).parent / "qiime"), "aam", *words],
        cwd=folder, env={**os.environ, **place}, capture_output=True, text=True, check=False,
    )  # fmt: skip


TRAIN = (
    "train-regressor", "--i-table", "table.qza", "--m-metadata-file", "metadata.tsv",
    "--m-metadata-column", "age", "--o-regressor", "regressor.qza", "--p-epochs", "1",
    "--p-embedding-dim", "16", "--p-attention-layers", "1", "--p-attention-heads", "2",
)  # fmt: skip


def test_a_model_keeps_the_warnings_that_its_user_saw(study):
    done = qiime(study, *TRAIN, "--p-max-bp", "50", "--p-rarefy-depth", "200")
    assert done.returncode == 0, done.stderr
    marked = [line for line in done.stderr.splitlines() if line.startswith("WARNING: ")]
    said = [line.removeprefix("WARNING: ") for line in marked]
    assert len(said) == 3
    for text in (
        "40 of 40 sequences are longer than 50 nt (up to 60 nt)",
        "4 of 40 samples have fewer than 200 reads and are left out",
        "Only 36 samples: below 50",
    ):
        assert sum(line.startswith(text) for line in said) == 1
    model = qiime2.Artifact.load(str(study / "regressor.qza"))
    directory = model.view(AAMModelDirectoryFormat)
    assert list(model_directory.read_config(str(directory)).warnings) == said
    from qiime2.plugins import aam

    page = aam.visualizers.summarize_training([model]).visualization
    page.export_data(str(study / "page"))
    text = (study / "page" / "index.html").read_text(encoding="ascii")
    for line in said:
        assert text.index(line) < text.index("<section")


def test_a_depth_that_few_samples_have_is_refused_with_one_that_suits(study):
    from qiime2.plugins import aam

    table = qiime2.Artifact.load(str(study / "table.qza"))
    age = qiime2.Metadata.load(str(study / "metadata.tsv")).get_column("age")
    said = (
        r"Rarefaction to 500 reads would leave out \d+ of 40 samples, more than half.*"
        r"\(--p-rarefy-depth 200 keeps 36 of 40 samples\).*--p-shallow-samples ignore"
    )
    for action, options in (
        (aam.methods.train_regressor, {}),
        (aam.pipelines.regress_samples, {}),
        (aam.pipelines.cross_validate_regression, {"n_folds": 2}),
    ):
        with pytest.raises(
            ValueError, match=said if action.type == "method" else "more than half"
        ):
            action(table, age, rarefy_depth=500, **options)


# ---- pipelines ---------------------------------------------------------------------------------


def test_a_pipeline_says_each_kind_of_warning_once(capsys):
    core, own = logging.getLogger("q2_aam.core.a"), logging.getLogger("q2_aam.actions.a")

    @reports_as_one
    def pipeline():
        messages.set_whole(messages.Whole(40, cross_validated=True))
        for fold in (1, 2):
            own.warning("Class %d is in fold %d only.", fold, fold)
            with reporting():
                core.warning("%d samples are shallow.", fold)
                core.info("Step %d.", fold)
                warn_if_few(20)

    pipeline()
    assert capsys.readouterr().err.splitlines() == [
        "WARNING: Class 1 is in fold 1 only.",
        "WARNING: 1 samples are shallow.",
        "INFO: Step 1.",
        "WARNING: Only 40 samples: below 50, scores vary much from one split to the next.",
        "WARNING: Class 2 is in fold 2 only.",
        "INFO: Step 2.",
    ]
    with reporting():
        core.warning("%d samples are shallow.", 3)
    assert capsys.readouterr().err == "WARNING: 3 samples are shallow.\n"
    assert messages.whole() is None


def test_a_pipeline_says_each_reason_for_which_samples_are_left_out(capsys):
    """And of each part what a user must know of each, such as reads of the other strand."""
    ids, core = list("abcde"), logging.getLogger("q2_aam.core.a")

    def column(name, **values):
        return pd.Series({"e": "x", "d": "y"} | values, name=name, dtype=object)

    @reports_as_one
    def pipeline():
        for _ in range(2):
            with_values(ids, column("age", a="x", b=None, c="not applicable"), "ignore")
            with_values(ids, column("fold", a="x", b="x", c="unknown"), "ignore")
        for fold in (1, 2):
            core.warning("Reads of fold %d.", fold, extra={"kind": messages.EACH})

    pipeline()
    said = [line.split(":")[1].split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        " 1 of the table's 5 samples have no value (column 'age')",
        " 1 of the table's 5 samples have a word for a missing value (column 'age')",
        " 1 samples have a word in column 'fold' that may stand for a missing value",
        " Reads of fold 1.",
        " Reads of fold 2.",
    ]


def test_a_pipeline_in_which_something_fails_leaves_nothing_behind(capsys):
    @reports_as_one
    def pipeline():
        messages.set_whole(messages.Whole(40))
        raise ValueError("that")

    with pytest.raises(ValueError, match="that"):
        pipeline()
    assert messages.whole() is None
    assert not logging.getLogger("q2_aam").handlers


# ---- options -----------------------------------------------------------------------------------

REFUSED = """
import sys
from q2_aam.actions import explain, methods
for call in sys.argv[1:]:
    try:
        eval(call)
    except ValueError as error:
        print(error)
print("torch" in sys.modules, "lightning" in sys.modules)
"""
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "models" / "format-1"


IMPOSSIBLE = {
    "methods.pretrain(None, None, attention_heads=3)": "multiple of attention_heads (3)",
    "methods.train_regressor(None, None, freeze_base=True, from_scratch=True)": "must be given",
    "methods.train_regressor(None, None, '{encoder}', from_scratch=True)": "leave the encoder out",
    "methods.train_classifier(None, None, '{classifier}', max_bp=77)": "the encoder's is 40",
    "methods.predict_intervals(None, '{regressor}')": "without quantiles",
    "explain.importance(None, '{regressor}', target_class='a')": "predicts a number",
    "explain.importance(None, '{classifier}', target_class='a')": "not one of the model's",
    "explain.importance(None, '{encoder}')": "predicts no metadata",
}


def test_impossible_options_are_refused_before_torch_is_loaded():
    places = {name: FIXTURES / name / "model" for name in ("encoder", "regressor", "classifier")}
    command = [sys.executable, "-c", REFUSED, *(call.format(**places) for call in IMPOSSIBLE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *refusals, loaded = done.stdout.splitlines()
    for refusal, said in zip(refusals, IMPOSSIBLE.values(), strict=True):
        assert said in refusal
    assert loaded == "False False"
