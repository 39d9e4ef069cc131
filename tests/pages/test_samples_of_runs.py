"""What the page of summarize-training says of the samples of each model."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from model_files import small_model

from q2_aam.actions.visualizers import summarize_training
from q2_aam.core.artifact import storage
from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.artifact.shipped.name import NAME
from q2_aam.core.data.splits.roles import FEW_READS, NO_VALUE, roles_table
from q2_aam.core.model.specification import ENCODER, REGRESSOR
from q2_aam.pages import run_samples, training

NASTY = '<img src=x onerror="alert(1)">'


@pytest.fixture
def directories(tmp_path):
    """Return models: one that knows its samples, one of odd ids, and two that know none."""
    many = roles_table([f"s{i}" for i in range(1200)], "ab", {"c": NO_VALUE, "d": NO_VALUE})
    odd = roles_table([NASTY, "None"], [], {"e": FEW_READS})
    models = [
        replace(small_model(REGRESSOR), samples=many),
        replace(small_model(REGRESSOR), samples=odd),
        replace(small_model(ENCODER), samples=None),
        encoder.load(),
    ]
    for i, model in enumerate(models):
        storage.save(model, tmp_path / str(i))
    return [str(tmp_path / str(i)) for i in range(len(models))]


def test_the_samples_of_each_model_are_counted(directories):
    section = run_samples.section(training.read(directories))
    (table,) = section.tables
    assert list(table.columns) == ["Used for", "Model 1", "Model 2"]
    assert [list(row) for row in table.rows] == [
        ["Training", "1,200", "2"],
        ["Validation", "2", "0"],
        ["Left out: fewer reads than rarefy_depth", "0", "1"],
        ["Left out: no value", "2", "0"],
        ["All samples given", "1,204", "3"],
    ]
    assert section.paragraphs[-1].startswith("Model 3, Model 4 do not say it.")


def test_a_model_that_does_not_know_says_so(directories):
    section = run_samples.section(training.read(directories[2:3]))
    assert list(section.tables) == []
    assert section.paragraphs[0].startswith("Model 1 does not say it.")
    assert run_samples.downloads(training.read(directories[2:3])) == {}


def test_the_list_lies_beside_the_page(directories, tmp_path):
    (tmp_path / "page").mkdir()
    summarize_training(str(tmp_path / "page"), directories)
    text = (tmp_path / "page" / "index.html").read_text(encoding="ascii")
    for i in (1, 2):
        assert f'<a href="samples-{i}.tsv" download>' in text
        found = pd.read_csv(
            tmp_path / "page" / f"samples-{i}.tsv", sep="\t", index_col=0, keep_default_na=False
        )
        expected = storage.load(Path(directories[i - 1])).samples
        assert found.index.tolist() == expected.index.tolist()
        assert found.to_numpy().tolist() == expected.to_numpy().tolist()
    assert "samples-3.tsv" not in text
    assert NASTY not in text
    before, of_shipped = text.split("Model 4 is an encoder, trained on 9,511 samples with ")
    assert of_shipped.startswith(f"156,887 ASVs. It is {NAME}, which ships with q2-aam.")
    assert f"It is {NAME}" not in before
