import errno
import inspect
import os
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import skbio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from skbio.diversity.alpha import faith_pd
from skbio.diversity.beta import unweighted_unifrac, weighted_unifrac
from trees import random_counts, random_newick

from q2_aam.core.phylogeny import BranchTable
from q2_aam.core.table import sample_table
from q2_aam.core.unifrac import UniFracTargets, pairwise_matrix

TAXA = "taxa" if "taxa" in inspect.signature(unweighted_unifrac).parameters else "otu_ids"
EXACT = {"atol": 1e-5, "rtol": 0}
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trees")


def case(folder, seed, n_samples=6, n_features=9):
    """Make a tree, its branches and counts from a seed."""
    rng = np.random.default_rng(seed)
    names = [f"f{i}" for i in range(n_features)]
    path = folder / "tree.nwk"
    path.write_text(random_newick(rng, [*names, "other1", "other2"]))
    counts = random_counts(rng, n_samples, n_features)
    return path, names, counts, BranchTable.from_newick(path, names)


def by_skbio(metric, counts, names, path):
    tree = skbio.TreeNode.read(StringIO(path.read_text()), convert_underscores=False)
    tree.length = None
    known = {TAXA: names, "tree": tree, "validate": False}
    if metric == "faith_pd":
        return np.array([faith_pd(row, **known) for row in counts])
    distance = {"unweighted": unweighted_unifrac, "weighted_normalized": weighted_unifrac}[metric]
    if metric == "weighted_normalized":
        known["normalized"] = True
    return np.array([[distance(a, b, **known) for b in counts] for a in counts])


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized", "faith_pd"])
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_targets_equal_those_of_scikit_bio(folder, metric, seed):
    path, names, counts, branches = case(folder, seed)
    ours = UniFracTargets(branches, metric)(csr_matrix(counts))
    theirs = by_skbio(metric, counts, names, path)
    # Where two samples have no branch length at all, 0/0 is 0 here.
    np.testing.assert_allclose(ours, np.nan_to_num(theirs), **EXACT)


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized"])
def test_targets_equal_those_of_unifrac(folder, metric):
    path, names, counts, branches = case(folder, 11, 20, 40)
    table = csr_matrix(counts)
    theirs = pairwise_matrix(table, names, path, metric)
    np.testing.assert_allclose(UniFracTargets(branches, metric)(table), theirs, **EXACT)


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized"])
def test_rectangles_and_stripes_are_parts_of_the_whole(folder, metric):
    _, _, counts, branches = case(folder, 12, 15, 30)
    table = csr_matrix(counts)
    whole = UniFracTargets(branches, metric)(table)
    stripes = UniFracTargets(branches, metric, references=table[3:7])
    np.testing.assert_allclose(stripes(table), whole[:, 3:7], **EXACT)
    np.testing.assert_allclose(stripes(table[[9]]), whole[[9], 3:7], **EXACT)
    between = UniFracTargets(branches, metric).between(table[:4], table[10:])
    np.testing.assert_allclose(between, whole[:4, 10:], **EXACT)


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized"])
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_distances_are_symmetric_bounded_and_zero_to_oneself(folder, metric, seed):
    *_, counts, branches = case(folder, seed)
    distances = UniFracTargets(branches, metric)(csr_matrix(counts))
    np.testing.assert_allclose(distances, distances.T, **EXACT)
    np.testing.assert_allclose(np.diag(distances), 0, **EXACT)
    assert distances.min() >= 0
    assert distances.max() <= 1


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_unweighted_keeps_the_triangle_inequality(folder, seed):
    *_, counts, branches = case(folder, seed)
    d = UniFracTargets(branches)(csr_matrix(counts)).astype(float)
    assert (d[:, :, None] + d[None] - d[:, None] >= -1e-5).all()


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, factor=st.integers(2, 50))
def test_unweighted_ignores_how_many_reads_there_are(folder, seed, factor):
    *_, counts, branches = case(folder, seed)
    targets = UniFracTargets(branches)
    np.testing.assert_array_equal(
        targets(csr_matrix(counts)), targets(csr_matrix(counts * factor))
    )


@pytest.mark.parametrize("prune", [True, False])
def test_the_root_need_not_be_observed(folder, prune):
    path = folder / "deep.nwk"
    path.write_text("(((a:1,b:1):5,c:1):7,d:1);")
    branches = BranchTable.from_newick(path, ["a", "b", "c"], prune=prune)
    counts = csr_matrix(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    expected = [[0, 2 / 14, 7 / 14], [2 / 14, 0, 7 / 14], [7 / 14, 7 / 14, 0]]
    np.testing.assert_allclose(UniFracTargets(branches)(counts), expected, **EXACT)


def test_a_tip_can_be_the_whole_sample(folder):
    path = folder / "star.nwk"
    path.write_text("(a:1,b:3);")
    branches = BranchTable.from_newick(path, ["a", "b"])
    counts = csr_matrix(np.array([[7, 0], [0, 2], [4, 4]]))
    np.testing.assert_allclose(
        UniFracTargets(branches)(counts), [[0, 1, 0.75], [1, 0, 0.25], [0.75, 0.25, 0]], **EXACT
    )
    np.testing.assert_allclose(UniFracTargets(branches, "faith_pd")(counts), [1, 3, 4], **EXACT)


def test_samples_without_reads_are_far_from_all_others(folder):
    *_, counts, branches = case(folder, 13, 3)
    counts[1] = 0
    distances = UniFracTargets(branches)(csr_matrix(counts))
    assert distances[1].tolist() == [1, 0, 1]


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized"])
def test_targets_equal_those_of_unifrac_on_real_data(real_data, metric):
    import biom

    source = real_data / "oral-age"
    table = sample_table(biom.load_table(str(source / "table.biom")), None, 150)
    table = table.take(range(0, 1500, 30)).observed()
    branches = BranchTable.from_newick(source / "tree.nwk", table.feature_ids)
    theirs = pairwise_matrix(table.counts, table.feature_ids, source / "tree.nwk", metric)
    ours = UniFracTargets(branches, metric)
    np.testing.assert_allclose(ours(table.counts), theirs, **EXACT)
    stripes = UniFracTargets(branches, metric, references=table.counts[:10])
    np.testing.assert_allclose(stripes(table.counts), theirs[:, :10], **EXACT)


def test_pairwise_matrix_takes_names_that_unifrac_cannot_read(folder):
    path = folder / "names.nwk"
    path.write_text("(('it''s one':1e-3,größe:3)0.9:0.25,(b%20c:2,other:9):1,'':4);")
    names = ["it's one", "größe", "b c"]
    counts = csr_matrix(np.array([[7, 0, 1], [0, 2, 0], [4, 4, 3]]))
    expected = UniFracTargets(BranchTable.from_newick(path, names))(counts)
    np.testing.assert_allclose(
        pairwise_matrix(counts, names, path, "unweighted"), expected, **EXACT
    )
    assert expected.max() > 0.5


def test_pairwise_matrix_says_that_there_is_no_room(folder, monkeypatch):
    def fail(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = folder / "two.nwk"
    path.write_text("(a:1,b:3);")
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ValueError, match=r"no room to write temporary files .* set TMPDIR"):
        pairwise_matrix(csr_matrix(np.eye(2, dtype=int)), ["a", "b"], path, "unweighted")
