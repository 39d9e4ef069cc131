"""The recipe of the encoder that ships, on a small corpus that is simulated."""

import json
from dataclasses import replace

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from q2_aam.core.artifact import storage
from q2_aam.core.artifact.shipped.encoder import check_files
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.phylogeny.unifrac import UniFracTargets
from recipes.encoder import __main__ as command
from recipes.encoder import corpus, draws, package, training

SIZES = {"one": 40, "two": 12, "three": 8, "held": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a corpus of four studies, of which one is held out."""
    made = simulate(SimulationConfig(n_samples=72, n_features=40, n_bp=100, depth=300, v4=True))
    path = tmp_path_factory.mktemp("corpus")
    ids = list(made.table.ids())
    with h5py.File(path / "table.biom", "w") as file:
        made.table.to_hdf5(file, "test")
    (path / "tree.nwk").write_text(made.newick)
    study = np.repeat(list(SIZES), list(SIZES.values()))
    environment = np.where(np.isin(study, ["one", "two"]), "gut", "soil")
    holdout = np.where(study == "held", "yes", "no")
    metadata = pd.DataFrame({"study": study, "environment": environment, "holdout": holdout}, ids)
    metadata.rename_axis("sample-id").to_csv(path / "metadata.tsv", sep="\t")
    return path


@pytest.fixture(scope="module")
def small(folder):
    return corpus.read(folder, 100, 0.25, seed=1)


def batches(small, **changed):
    options = {"seed": (0, 0), "n_batches": 12, "batch_size": 9}
    augmentation = draws.Augmentation(**{"depths": (20, 200), **changed})
    plan = training.Plan()
    return draws.CorpusBatches(
        small, small.part(validating=False), plan.settings.data, augmentation=augmentation,
        **options,
    )  # fmt: skip


def test_held_out_studies_are_not_read(small):
    assert set(small.metadata["study"]) == {"one", "two", "three"}
    assert list(small.metadata.index) == list(small.table.sample_ids)


def test_each_study_gives_its_share_to_validation(small):
    held = small.metadata["study"][small.validating].value_counts()
    assert held.to_dict() == {"one": 10, "two": 3, "three": 2}


def test_large_studies_are_drawn_more_often_but_not_as_often_as_they_are_large(small):
    part = corpus.Part.of(small.metadata, np.arange(60))
    share = dict(zip(part.names, part.shares, strict=True))
    assert sum(part.shares) == pytest.approx(1)
    gut, soil = 52**0.5, 8**0.5
    assert share["soil three"] == pytest.approx(soil / (gut + soil))
    assert share["gut one"] / share["gut two"] == pytest.approx((40 / 12) ** 0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.drop(columns="study"), "no column 'study'"),
        (lambda m: m.assign(holdout="maybe"), "has 'maybe': say yes or no"),
        (lambda m: m.iloc[1:], "1 samples of table.biom, such as .* are not in metadata.tsv"),
    ],
)
def test_wrong_metadata_is_refused(folder, tmp_path, change, said):
    for name in ("table.biom", "tree.nwk"):
        (tmp_path / name).symlink_to(folder / name)
    metadata = pd.read_csv(folder / "metadata.tsv", sep="\t", index_col=0)
    change(metadata).to_csv(tmp_path / "metadata.tsv", sep="\t")
    with pytest.raises(ValueError, match=said):
        corpus.read(tmp_path, 100, 0.1, seed=0)


def test_a_batch_is_the_same_whenever_it_is_asked_for(small):
    first, again = batches(small)[3], batches(small)[3]
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.counts, again.counts)
    assert torch.equal(first.masked_at, again.masked_at)
    assert not torch.equal(first.rows, batches(small)[4].rows)


def test_a_batch_holds_training_samples_once_and_many_of_one_study(small):
    for batch in batches(small):
        rows = batch.rows.numpy()
        assert len(set(rows)) == 9
        assert not small.validating[rows].any()
        assert small.metadata["study"].iloc[rows].value_counts().max() >= 6


def test_targets_are_of_the_reads_that_were_drawn(small):
    batch = batches(small)[0]
    counts = np.zeros((9, len(small.table.feature_ids)))
    columns = batch.asvs[batch.asv_index].numpy()
    np.add.at(counts, (np.arange(9)[:, None], columns), batch.counts.numpy())
    counts = biom.Table(counts.T, range(counts.shape[1]), range(9)).matrix_data.T.tocsr()
    expected = UniFracTargets(small.branches)(counts)
    assert batch.unifrac.numpy() == pytest.approx(expected, abs=1e-6)


def test_some_batches_have_shorter_reads(small):
    lengths = {batch.tokens.shape[1] for batch in batches(small, shortest=90)}
    assert 100 in lengths
    assert min(lengths) < 100
    assert min(lengths) >= 90


def test_depths_are_as_asked(small):
    reads = torch.stack([batch.counts.sum(dim=1).max() for batch in batches(small)])
    assert reads.min() >= 20
    assert reads.max() <= 200
    assert len(reads.unique()) > 6


def test_a_batch_is_no_wider_than_asked(small):
    assert max(batch.counts.shape[1] for batch in batches(small, most_asvs=5)) == 5


def test_rare_features_are_seen_more_often_if_abundances_are_flattened(small):
    counts, table = np.zeros(2), small.table
    for seed in range(20):
        for i, flattened in enumerate((False, True)):
            drawn = draws.draw(table, 0, 30, np.random.default_rng(seed), flattened)
            counts[i] += drawn.nnz
    assert counts[1] > counts[0]


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    arguments = ["--corpus", str(folder), "--output", str(output), "--epochs", "2", "--steps", "2",
                 "--batch-size", "6", "--device", "cpu", "--validation", "0.25",
                 "--depths", "20", "100"]  # fmt: skip
    command.main(arguments)
    return output, arguments


def test_the_same_command_gives_the_same_model_at_once(made, caplog):
    output, arguments = made
    caplog.set_level("INFO")
    options = training.Plan(epochs=2, steps=2, batch_size=6, device="cpu", validation=0.25,
                            augmentation=draws.Augmentation(depths=(20, 100)))  # fmt: skip
    read = corpus.read(arguments[1], options.max_bp, options.validation, options.seed)
    model = training.train(read, options, output / "run", progress=False)
    assert "Resuming the run" in caplog.text
    assert len(model.history) == 2
    saved = storage.load(output / "model")
    assert all(torch.equal(saved.weights[n], value) for n, value in model.weights.items())


def test_what_goes_into_the_package_is_whole(made, folder, small, tmp_path):
    model = storage.load(made[0] / "model")
    (tmp_path / "LICENSE").write_text("CC BY-SA 3.0\n")
    recipe = {"held_out": corpus.held_out(folder), "corpus": package.sums_of_corpus(folder)}
    package.put_into_package(model, small, recipe, tmp_path)
    check_files(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"LICENSE", "SHA256SUMS", "config.json", "corpus.txt", "history.tsv",
                     "recipe.json", "weights.safetensors"}  # fmt: skip
    assert json.loads((tmp_path / "recipe.json").read_text())["held_out"] == ["held"]
    whole = (made[0] / "model" / "weights.safetensors").stat().st_size
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.6 * whole


def test_a_read_that_is_shifted_does_not_stand_for_the_corpus(small):
    table = small.table
    counts = table.counts[:, [0, 0]]
    twice = np.stack([table.tokens[0], np.append(table.tokens[0][1:], table.tokens[0][:1])])
    both = replace(table, tokens=twice, feature_ids=("a", "b"), counts=counts)
    assert len(package.sketch_of(replace(small, table=both))) == 1


def test_each_sequence_is_near_to_one_of_the_sketch(small):
    chosen = package.sketch_of(small)
    same = (small.table.tokens[:, None] == chosen[None]).mean(axis=2).max(axis=1)
    assert (same >= package.NEAR).all()
    among = (chosen[:, None] == chosen[None]).mean(axis=2) - np.eye(len(chosen))
    assert (among < package.NEAR).all()
