"""Trees as arrays, held against those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from q2_aam.core import extra_trees
from q2_aam.core.extra_trees import POWERS, SAMPLES_AT_A_TIME, TREES_OF_EACH, Trees, grow

RNG = np.random.default_rng(3)
OPTIONS = {"n_estimators": TREES_OF_EACH, "max_features": extra_trees.SHARE_OF_FEATURES}


def abundances(n, width, density=0.4):
    """Return roots of relative abundances, each ASV in two samples or more."""
    made = random(n, width, density, random_state=11).toarray()
    made[:2] += 0.01
    return csr_matrix(np.sqrt(made / made.sum(axis=1, keepdims=True)))


ROOTS, OTHERS = abundances(60, 12), abundances(SAMPLES_AT_A_TIME + 20, 12)
NUMBERS = ROOTS[:, 3].toarray().ravel() * 5 + RNG.standard_normal(60)
CLASSES = np.digitize(NUMBERS, np.quantile(NUMBERS, [0.3, 0.6]))


def dense(roots, power):
    return roots.toarray().astype(np.float32) ** power


def test_numbers_are_those_of_scikit_learn():
    made = ExtraTreesRegressor(**OPTIONS, min_samples_leaf=2, random_state=5)
    expected = [made.fit(dense(ROOTS, p), NUMBERS).predict(dense(OTHERS, p)) for p in POWERS]
    found = grow(ROOTS, NUMBERS, None, seed=5).numbers(OTHERS)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-5)


@pytest.mark.parametrize("factors", [[1.0, 1.0, 1.0], [9.0, 1.0, 0.2]])
def test_shares_are_the_votes_of_the_trees_of_scikit_learn(factors):
    factors, votes = np.array(factors), []
    for power in POWERS:
        made = ExtraTreesClassifier(**OPTIONS, random_state=5)
        made.fit(dense(ROOTS, power), CLASSES, sample_weight=factors[CLASSES])
        votes += [tree.predict(dense(OTHERS, power)) for tree in made.estimators_]
    expected = np.stack([(np.array(votes) == number).mean(axis=0) for number in range(3)], axis=1)
    found = grow(ROOTS, CLASSES, factors, seed=5).shares(OTHERS, 3)
    np.testing.assert_allclose(found, expected)


def test_a_class_that_no_sample_has_gets_no_vote():
    target = np.where(CLASSES == 1, 2, CLASSES)
    shares = grow(ROOTS, target, np.ones(3)).shares(OTHERS, 3)
    assert (shares[:, 1] == 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_threads_and_the_same_seed_change_nothing():
    one, two = (grow(ROOTS, NUMBERS, None, seed=1, threads=n) for n in (1, 2))
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, vars(two)[name])


def test_only_asvs_of_several_samples_are_asked_for():
    single = csr_matrix((np.full(60, 0.5), (np.arange(60), np.arange(60))))
    both = csr_matrix(np.hstack([single.toarray(), ROOTS.toarray()]))
    asked = grow(both, NUMBERS, None)
    assert asked.feature[asked.skip > 0].min() >= 60


def test_the_most_prevalent_asvs_are_asked_for(monkeypatch):
    monkeypatch.setattr(extra_trees, "MOST_FEATURES", 3)
    prevalence = np.diff(ROOTS.tocsc().indptr)
    asked = grow(ROOTS, NUMBERS, None)
    assert prevalence[np.unique(asked.feature[asked.skip > 0])].min() >= np.sort(prevalence)[-3]


def test_samples_that_share_no_asv_are_enough():
    apart = csr_matrix(np.eye(4))
    found = grow(apart, np.arange(4.0), None).numbers(apart)
    assert np.isfinite(found).all()


def test_two_samples_are_enough():
    found = grow(csr_matrix(np.eye(2)), np.array([1.0, 3.0]), None).numbers(csr_matrix(np.eye(2)))
    np.testing.assert_allclose(found, 2.0)


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_not_above_is_the_greatest_single_that_is_not(values):
    values = np.array(values)
    single = extra_trees._not_above(values)
    assert single.dtype == np.float32
    assert (single <= values).all()
    assert (np.nextafter(single, np.float32(np.inf)).astype(float) > values).all()


@given(st.integers(0, 2**32 - 1))
def test_trees_that_point_anywhere_end_somewhere(seed):
    """As in a damaged model: its integers are within bounds, and that is all that is known."""
    rng, n = np.random.default_rng(seed), 40
    trees = Trees(
        rng.integers(0, 12, n).astype(np.int32),
        rng.random(n).astype(np.float32),
        rng.integers(0, n, n).astype(np.int32),
        (1e9 * rng.standard_normal(n)).astype(np.float32),
        np.array([10, 25, 5], dtype=np.int32),
    )
    assert np.isfinite(trees.numbers(ROOTS)).all()
    np.testing.assert_allclose(trees.shares(ROOTS, 3).sum(axis=1), 1)
