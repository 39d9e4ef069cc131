"""The encoder that ships: its files, and what it says of samples that are always the same."""

import json
import shutil
from dataclasses import replace

import biom
import numpy as np
import pandas as pd
import pytest
import torch
from heavy_imports import LIGHT, heavy_imports
from model_files import small_model

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.artifact.shipped.identity import is_shipped
from q2_aam.core.data import nucleotides
from q2_aam.core.model.specification import ENCODER, KINDS

MOST_BYTES = 10_000_000
NEAR, FAR = 0.34860, 0.79826
BEGINNING = [-0.52353, 0.27583, -0.44360]
"""Distances of the samples below, and the first numbers of the embedding of one."""


@pytest.fixture(scope="module")
def shipped():
    return encoder.load()


def sequence(row):
    return "".join(nucleotides.BASES[token - nucleotides.FIRST_BASE] for token in row)


@pytest.fixture(scope="module")
def samples():
    """Three samples: two that share most of their ASVs, and one of others."""
    asvs = [sequence(row) for row in encoder.sketch()[:30]]
    counts = np.zeros((30, 3))
    counts[:12, 0] = counts[2:14, 1] = counts[18:30, 2] = np.arange(12, 0, -1) * 10
    return biom.Table(counts, asvs, ["a", "b", "c"])


def test_it_is_an_encoder_of_the_first_hundred_nucleotides(shipped):
    assert shipped.spec.kind == ENCODER
    assert shipped.spec.model.max_bp == 100
    assert all(value.dtype == torch.float32 for value in shipped.weights.values())
    assert len(shipped.history) > 10


def test_it_is_saved_and_loaded_as_every_model(shipped, tmp_path):
    storage.save(shipped, tmp_path / "model")
    again = storage.load(tmp_path / "model")
    assert again.spec == shipped.spec
    assert all(torch.equal(again.weights[n], value) for n, value in shipped.weights.items())


def test_it_is_known_again_by_its_weights(shipped, tmp_path):
    storage.save(shipped, tmp_path / "model")
    assert is_shipped(tmp_path / "model")
    name = sorted(shipped.weights)[-1]
    changed = {**shipped.weights, name: shipped.weights[name] + 1e-3}
    storage.save(replace(shipped, weights=changed), tmp_path / "changed")
    assert not is_shipped(tmp_path / "changed")
    for kind in KINDS:
        storage.save(small_model(kind), tmp_path / kind)
        assert not is_shipped(tmp_path / kind)


def test_it_is_known_again_in_a_model_that_did_not_change_it(shipped, samples, tmp_path):
    ids = [f"{name}{i}" for name in samples.ids() for i in range(4)]
    table = biom.Table(
        np.repeat(samples.matrix_data.toarray(), 4, 1), samples.ids("observation"), ids
    )
    values = pd.Series(np.arange(12.0), ids, name="age")
    options = {"encoder": shipped, "epochs": 1, "dropout": 0.2, "device": "cpu"}
    for freeze in (True, False):
        model = api.train_regressor(table, values, freeze_base=freeze, **options)
        storage.save(model, tmp_path / str(freeze))
        assert is_shipped(tmp_path / str(freeze)) == freeze


def test_it_is_known_again_without_torch(shipped, tmp_path):
    storage.save(shipped, tmp_path / "model")
    code = (
        "from q2_aam.core.artifact.shipped.identity import is_shipped; "
        f"assert is_shipped({str(tmp_path / 'model')!r})"
    )
    assert heavy_imports(code, LIGHT) == []


def test_it_predicts_what_it_always_did(shipped, samples):
    embedding, distances = api.embed(samples, shipped, device="cpu")
    assert distances["a", "b"] == pytest.approx(NEAR, abs=1e-4)
    assert distances["a", "c"] == pytest.approx(FAR, abs=1e-4)
    assert embedding.loc["a"].to_numpy()[:3] == pytest.approx(BEGINNING, abs=1e-4)


def test_it_has_seen_shorter_reads(shipped, samples):
    """Twenty nucleotides less change less than other ASVs do."""
    short = biom.Table(
        samples.matrix_data, [name[:80] for name in samples.ids("observation")], samples.ids()
    )
    whole, cut = (api.embed(table, shipped, device="cpu")[0] for table in (samples, short))
    moved = np.linalg.norm(whole.loc["a"] - cut.loc["a"])
    assert 0 < moved < np.linalg.norm(whole.loc["a"] - whole.loc["c"])


def test_it_is_small():
    assert sum(path.stat().st_size for path in encoder.DIRECTORY.iterdir()) < MOST_BYTES


def test_each_file_has_its_sum():
    encoder.check_files()
    named = {
        line.split()[1] for line in (encoder.DIRECTORY / encoder.SUMS).read_text().splitlines()
    }
    assert named == {path.name for path in encoder.DIRECTORY.iterdir()} - {encoder.SUMS}


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_damaged_file_is_noticed(change, tmp_path, monkeypatch):
    copy = shutil.copytree(encoder.DIRECTORY, tmp_path / encoder.NAME)
    path = copy / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01") if change == "changed" else path.unlink()
    with pytest.raises(ValueError, match=r"'weights.safetensors' .* damaged or missing .* again"):
        encoder.check_files(copy)


def test_its_licence_names_whose_work_it_holds():
    text = " ".join((encoder.DIRECTORY / encoder.LICENCE).read_text().split())
    assert "Creative Commons Attribution-ShareAlike 3.0 Unported" in text
    assert "https://creativecommons.org/licenses/by-sa/3.0/legalcode" in text
    assert "Greengenes 13_8" in text
    assert encoder.NAME in text


def test_its_recipe_says_how_it_was_made():
    recipe = json.loads((encoder.DIRECTORY / encoder.RECIPE).read_text())
    assert recipe["options"]["max_bp"] == 100
    assert set(recipe["corpus"]) == {"table.biom", "tree.nwk", "metadata.tsv"}
    assert recipe["held_out"] == ["PRJNA412105", "PRJNA720045", "daycare"]


def test_its_sketch_has_no_sequence_twice():
    found = encoder.sketch()
    assert found.shape == (len(np.unique(found, axis=0)), 100)
    assert len(found) > 1000
