"""Sums over the branches under samples, held to sums that visit every branch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from trees import newicks, tables

from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.path_sums import Subtrees


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("subtrees") / "tree.nwk"


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n=st.integers(1, 12), seed=st.integers(0, 2**32 - 1), prune=st.booleans())
def test_sums_are_those_over_the_branches_above_the_features(path, data, n, seed, prune):
    names = [f"f{i}" for i in range(n)]
    path.write_text(data.draw(newicks(names)))
    branches = BranchTable.from_newick(path, names, prune=prune)
    counts = csr_matrix(data.draw(tables(n, empty=True)))
    values = np.random.default_rng(seed).normal(size=(len(branches.lengths), 3))
    expected = ((counts > 0).astype(float) @ branches.above > 0).astype(float) @ values
    subtrees = Subtrees(branches.tips, branches.parent)
    subtrees.sum_paths(values)
    np.testing.assert_allclose(subtrees.sums(counts, values), expected, atol=1e-12)
