"""UniFrac and Faith PD, held to scikit-bio and unifrac on random trees and on real data."""

import inspect
from io import StringIO
from urllib.parse import unquote

import biom
import h5py
import numpy as np
import pytest
import skbio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from skbio.diversity import alpha_diversity, beta_diversity
from trees import AWKWARD, newicks, tables

from q2_aam.core.phylogeny import unifrac as core
from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.unifrac import UniFracTargets, pairwise_matrix

METRICS = ["unweighted", "weighted_normalized", "faith_pd"]
DISTANCES = METRICS[:2]
TAXA = "taxa" if "taxa" in inspect.signature(skbio.diversity.alpha.faith_pd).parameters else (
    "otu_ids"
)  # fmt: skip
EXACT = {"atol": 1e-5, "rtol": 1e-5}
FEATURES = [f"f{i}" for i in range(8)]

drawn = settings(deadline=None, max_examples=25)
anything = {"newick": newicks(FEATURES), "counts": tables(len(FEATURES))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trees")


@pytest.fixture(scope="module")
def branches_of(folder):
    def read(newick, names=FEATURES, prune=True):
        path = folder / "tree.nwk"
        path.write_text(newick)
        return BranchTable.from_newick(path, names, prune=prune)

    return read


def by_scikit_bio(metric, counts, names, newick):
    """Compute the whole matrix, or all diversities."""
    tree = skbio.TreeNode.read(StringIO(newick), convert_underscores=False)
    tree.length = None
    for tip in tree.tips():
        tip.name = tip.name if tip.name in names else unquote(tip.name)
    known = {"tree": tree, TAXA: list(names), "validate": False}
    ids = [f"s{i}" for i in range(len(counts))]
    if metric == "faith_pd":
        return alpha_diversity(metric, counts, ids, **known).to_numpy()
    if metric == "unweighted":
        return beta_diversity("unweighted_unifrac", counts, ids, **known).data
    return beta_diversity("weighted_unifrac", counts, ids, normalized=True, **known).data


def by_unifrac(metric, counts, names, newick, folder):
    """Compute the whole matrix, or all diversities."""
    import unifrac

    ids = [f"s{i}" for i in range(len(counts))]
    seen = np.flatnonzero(counts.sum(axis=0))
    table = biom.Table(counts.T[seen], [names[i] for i in seen], ids)
    with h5py.File(folder / "table.biom", "w") as file:
        table.to_hdf5(file, "test")
    (folder / "oracle.nwk").write_text(newick)
    found = getattr(unifrac, metric)(str(folder / "table.biom"), str(folder / "oracle.nwk"))
    assert list(found.index if metric == "faith_pd" else found.ids) == ids
    return found.to_numpy() if metric == "faith_pd" else found.data


def assert_every_mode_gives(expected, branches, metric, counts):
    """Compare the whole, rectangles, batches and stripes with the whole by another library."""
    expected = np.nan_to_num(expected)  # where samples have no branch length at all, 0/0 is 0 here
    table, n = csr_matrix(counts), len(counts)
    whole = UniFracTargets(branches, metric)
    np.testing.assert_allclose(whole(table), expected, **EXACT)
    batches = [[n - 1], [1, 0], [0, n - 1, 1]]
    if metric == "faith_pd":
        for rows in batches:
            np.testing.assert_allclose(whole(table[rows]), expected[rows], **EXACT)
        return
    cut = n // 2
    rectangle = whole.between(table[:cut], table[cut:])
    np.testing.assert_allclose(rectangle, expected[:cut, cut:], **EXACT)
    for references in batches:
        stripes = UniFracTargets(branches, metric, references=table[references])
        np.testing.assert_allclose(stripes(table), expected[:, references], **EXACT)
        for rows in batches:
            part = np.ix_(rows, references)
            np.testing.assert_allclose(stripes(table[rows]), expected[part], **EXACT)
    for rows in batches:
        np.testing.assert_allclose(whole(table[rows]), expected[np.ix_(rows, rows)], **EXACT)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything, prune=st.booleans())
def test_targets_equal_those_of_scikit_bio(branches_of, metric, newick, counts, prune):
    expected = by_scikit_bio(metric, counts, FEATURES, newick)
    assert_every_mode_gives(expected, branches_of(newick, prune=prune), metric, counts)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything, prune=st.booleans())
def test_targets_equal_those_of_unifrac(branches_of, folder, metric, newick, counts, prune):
    expected = by_unifrac(metric, counts, FEATURES, newick, folder)
    assert_every_mode_gives(expected, branches_of(newick, prune=prune), metric, counts)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(newick=newicks(AWKWARD), counts=tables(len(AWKWARD)))
def test_targets_are_the_same_whatever_the_names(branches_of, metric, newick, counts):
    expected = by_scikit_bio(metric, counts, AWKWARD, newick)
    assert_every_mode_gives(expected, branches_of(newick, AWKWARD), metric, counts)


@pytest.mark.parametrize("metric", DISTANCES)
@drawn
@given(newick=newicks(AWKWARD), counts=tables(len(AWKWARD)))
def test_pairwise_matrix_is_the_whole(branches_of, folder, metric, newick, counts):
    whole = UniFracTargets(branches_of(newick, AWKWARD), metric)(csr_matrix(counts))
    found = pairwise_matrix(csr_matrix(counts), AWKWARD, folder / "tree.nwk", metric)
    np.testing.assert_allclose(found, whole, **EXACT)
    assert found.dtype == np.float32


@drawn
@given(**anything)
def test_stripes_of_many_references_are_those_of_few(branches_of, newick, counts):
    branches, table = branches_of(newick), csr_matrix(counts)
    few = UniFracTargets(branches, references=table)(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "MAX_PATH_SUMS", 0)
        many = UniFracTargets(branches, references=table)(table)
    np.testing.assert_allclose(many, few, **EXACT)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything)
def test_targets_are_the_same_in_pieces(branches_of, metric, newick, counts):
    table = csr_matrix(counts)
    targets = UniFracTargets(branches_of(newick), metric, references=table[:2])
    whole = targets(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "ROWS_AT_A_TIME", 2)
        np.testing.assert_array_equal(targets(table), whole)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything)
def test_targets_are_the_same_whether_pruned(branches_of, metric, newick, counts):
    whole, pruned = (
        UniFracTargets(branches_of(newick, prune=prune), metric)(csr_matrix(counts))
        for prune in (False, True)
    )
    np.testing.assert_allclose(pruned, whole, **EXACT)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything, order=st.permutations(range(len(FEATURES))))
def test_targets_ignore_the_order_of_features(branches_of, metric, newick, counts, order):
    here = UniFracTargets(branches_of(newick), metric)(csr_matrix(counts))
    names = [FEATURES[i] for i in order]
    there = UniFracTargets(branches_of(newick, names), metric)(csr_matrix(counts[:, order]))
    np.testing.assert_allclose(here, there, **EXACT)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything, times=st.integers(2, 50))
def test_targets_ignore_the_unit_of_lengths_or_grow_with_it(
    branches_of, metric, newick, counts, times
):
    branches, table = branches_of(newick), csr_matrix(counts)
    one = UniFracTargets(branches, metric)(table)
    branches.lengths[:] *= times
    expected = one * times if metric == "faith_pd" else one
    np.testing.assert_allclose(UniFracTargets(branches, metric)(table), expected, **EXACT)


@pytest.mark.parametrize("metric", METRICS)
@drawn
@given(**anything, times=st.integers(2, 50))
def test_targets_ignore_how_many_reads_there_are(branches_of, metric, newick, counts, times):
    targets = UniFracTargets(branches_of(newick), metric)
    more = targets(csr_matrix(counts * times))
    np.testing.assert_allclose(more, targets(csr_matrix(counts)), **EXACT)


@pytest.mark.parametrize("metric", DISTANCES)
@drawn
@given(newick=anything["newick"], counts=tables(len(FEATURES), empty=True))
def test_distances_are_symmetric_bounded_and_zero_to_oneself(branches_of, metric, newick, counts):
    distances = UniFracTargets(branches_of(newick), metric)(csr_matrix(counts))
    np.testing.assert_allclose(distances, distances.T, **EXACT)
    np.testing.assert_allclose(np.diag(distances), 0, **EXACT)
    assert distances.min() >= 0
    assert distances.max() <= 1


@drawn
@given(newick=anything["newick"], counts=tables(len(FEATURES), empty=True))
def test_unweighted_keeps_the_triangle_inequality(branches_of, newick, counts):
    d = UniFracTargets(branches_of(newick))(csr_matrix(counts)).astype(float)
    assert (d[:, :, None] + d[None] - d[:, None] >= -1e-5).all()


@drawn
@given(**anything)
def test_faith_pd_of_a_union_is_between_the_larger_and_the_sum(branches_of, newick, counts):
    assume(len(counts) >= 3)
    a, b, *_ = UniFracTargets(branches_of(newick), "faith_pd")(csr_matrix(counts))
    both = UniFracTargets(branches_of(newick), "faith_pd")(csr_matrix(counts[[0]] + counts[[1]]))
    assert max(a, b) * (1 - 1e-5) <= both[0] <= (a + b) * (1 + 1e-5)


@pytest.mark.parametrize("prune", [True, False])
def test_the_root_need_not_be_observed(branches_of, prune):
    branches = branches_of("(((a:1,b:1):5,c:1):7,d:1):11;", ["a", "b", "c"], prune=prune)
    counts = csr_matrix(np.eye(3, dtype=int))
    expected = [[0, 2 / 14, 7 / 14], [2 / 14, 0, 7 / 14], [7 / 14, 7 / 14, 0]]
    np.testing.assert_allclose(UniFracTargets(branches)(counts), expected, **EXACT)
    np.testing.assert_allclose(UniFracTargets(branches, "faith_pd")(counts), [13, 13, 8], **EXACT)


@pytest.mark.parametrize("metric", DISTANCES)
def test_a_tip_can_be_the_whole_sample(branches_of, metric):
    branches = branches_of("(a:1,b:3);", ["a", "b"])
    counts = csr_matrix(np.array([[7, 0], [0, 2], [4, 4]]))
    expected = {
        "unweighted": [[0, 1, 3 / 4], [1, 0, 1 / 4], [3 / 4, 1 / 4, 0]],
        "weighted_normalized": [[0, 1, 2 / 3], [1, 0, 2 / 5], [2 / 3, 2 / 5, 0]],
    }[metric]
    np.testing.assert_allclose(UniFracTargets(branches, metric)(counts), expected, **EXACT)
    np.testing.assert_allclose(UniFracTargets(branches, "faith_pd")(counts), [1, 3, 4], **EXACT)


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("stripes", [True, False])
def test_samples_without_reads_are_far_from_all_others(branches_of, metric, stripes):
    branches = branches_of("((a:1,b:2):3,c:4,d:0);", ["a", "b", "c", "d"])
    counts = csr_matrix(np.array([[1, 0, 2, 0], [0, 0, 0, 0], [0, 5, 1, 1], [0, 0, 0, 3]]))
    targets = UniFracTargets(branches, metric, references=counts if stripes else None)
    assert targets(counts)[1].tolist() == [1, 0, 1, 0]
    assert targets(counts)[:, 1].tolist() == [1, 0, 1, 0]
    assert UniFracTargets(branches, "faith_pd")(counts)[1] == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("stripes", [True, False])
def test_stored_zeros_are_no_reads_and_parts_are_added_up(branches_of, metric, stripes):
    branches = branches_of("((a:1,b:2):3,c:4);", ["a", "b", "c"])
    plain = csr_matrix(np.array([[1, 0, 2], [0, 3, 0]]))
    parts = csr_matrix(
        (np.array([1, 1, 0, 1, 0, 3]), np.array([2, 0, 1, 2, 0, 1]), np.array([0, 4, 6])), (2, 3)
    )
    references = plain if stripes and metric != "faith_pd" else None
    targets = UniFracTargets(branches, metric, references=references)
    np.testing.assert_array_equal(targets(parts), targets(plain))
    assert parts.nnz == 6  # what was given stays as it was


@pytest.mark.parametrize("threads", [1, 2])
def test_pairwise_matrix_uses_as_many_threads_as_it_is_told(
    branches_of, folder, monkeypatch, threads
):
    import unifrac
    from threadpoolctl import threadpool_info

    used = []
    original = unifrac.unweighted

    def watched(*arguments, **named):
        used.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp")
        return original(*arguments, **named)

    monkeypatch.setattr(unifrac, "unweighted", watched)
    branches_of("((a:1,b:2):3,c:4);", ["a", "b", "c"])
    pairwise_matrix(
        csr_matrix(np.eye(3, dtype=int)),
        ["a", "b", "c"],
        folder / "tree.nwk",
        "unweighted",
        threads,
    )
    assert set(used) == {threads}


def real(real_data, name, n):
    """Return some samples of a data set, and the text of its tree."""
    source = real_data / name
    table = biom.load_table(str(source / "table.biom"))
    table = table.filter(table.ids()[:: len(table.ids()) // n][:n], inplace=False)
    table.remove_empty("observation")
    counts = table.matrix_data.T.toarray().astype(int)
    return counts, list(table.ids("observation")), (source / "tree.nwk").read_text()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["oral-age", "vaginal-ravel"])
def test_targets_of_real_data_equal_those_of_unifrac_and_scikit_bio(
    real_data, branches_of, folder, name, metric
):
    counts, names, newick = real(real_data, name, 40)
    branches = branches_of(newick, names)
    theirs = by_unifrac(metric, counts, names, newick, folder)
    assert_every_mode_gives(theirs, branches, metric, counts)
    few = by_scikit_bio(metric, counts[:8], names, newick)
    assert_every_mode_gives(few, branches, metric, counts[:8])
