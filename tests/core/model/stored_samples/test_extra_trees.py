"""Trees as arrays, held against those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from q2_aam.core.model.stored_samples import extra_trees
from q2_aam.core.model.stored_samples.extra_trees import (
    POWERS,
    SAMPLES_AT_A_TIME,
    TREES_OF_EACH,
    Trees,
    grow,
    side_by_side,
)

RNG = np.random.default_rng(3)
OPTIONS = {"n_estimators": TREES_OF_EACH, "max_features": extra_trees.SHARE_OF_FEATURES}


def abundances(n, width, density=0.4):
    """Return roots of relative abundances, each ASV in two samples or more."""
    made = random(n, width, density, random_state=11).toarray()
    made[:2] += 0.01
    made[made.sum(axis=1) == 0] = 0.01
    return csr_matrix(np.sqrt(made / made.sum(axis=1, keepdims=True)))


ROOTS, OTHERS = abundances(60, 12), abundances(SAMPLES_AT_A_TIME + 20, 12)
NUMBERS = ROOTS[:, 3].toarray().ravel() * 5 + RNG.standard_normal(60)
CLASSES = np.digitize(NUMBERS, np.quantile(NUMBERS, [0.3, 0.6]))


def dense(roots, power):
    return roots.toarray().astype(np.float32) ** power


def test_numbers_are_those_of_scikit_learn():
    made = ExtraTreesRegressor(**OPTIONS, min_samples_leaf=2, random_state=5)
    expected = [made.fit(dense(ROOTS, p), NUMBERS).predict(dense(OTHERS, p)) for p in POWERS]
    found = grow(ROOTS, NUMBERS, seed=5).numbers(OTHERS)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-5)


def test_shares_are_the_votes_of_the_trees_of_scikit_learn():
    votes = []
    for power in POWERS:
        made = ExtraTreesClassifier(**OPTIONS, random_state=5).fit(dense(ROOTS, power), CLASSES)
        votes += [tree.predict(dense(OTHERS, power)) for tree in made.estimators_]
    expected = np.stack([(np.array(votes) == number).mean(axis=0) for number in range(3)], axis=1)
    found = grow(ROOTS, CLASSES, classes=True, seed=5).shares(OTHERS, np.ones(3))
    np.testing.assert_allclose(found, expected)


def test_a_class_that_no_sample_has_gets_no_vote():
    target = np.where(CLASSES == 1, 2, CLASSES)
    shares = grow(ROOTS, target, classes=True).shares(OTHERS, np.ones(3))
    assert (shares[:, 1] == 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_votes_count_as_their_classes_are_weighed():
    trees, factors = grow(ROOTS, CLASSES, classes=True), np.array([9.0, 1.0, 0.2])
    expected = trees.shares(OTHERS, np.ones(3)) * factors
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(trees.shares(OTHERS, factors), expected)


def test_balanced_classes_make_a_rare_one_likelier_where_nothing_tells_them_apart():
    rare = (np.random.default_rng(4).random(300) < 0.15).astype(np.int64)
    trees = grow(abundances(300, 12), rare, classes=True)
    natural = trees.shares(OTHERS, np.ones(2)).mean(axis=0)[1]
    balanced = trees.shares(OTHERS, np.array([1, 0.85 / 0.15])).mean(axis=0)[1]
    assert natural == pytest.approx(0.15, abs=0.05)
    assert balanced > 2 * natural


def test_threads_and_the_same_seed_change_nothing():
    one, two = (grow(ROOTS, NUMBERS, seed=1, threads=n) for n in (1, 2))
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, vars(two)[name])


def test_only_asvs_of_several_samples_are_asked_for():
    single = csr_matrix((np.full(60, 0.5), (np.arange(60), np.arange(60))))
    both = csr_matrix(np.hstack([single.toarray(), ROOTS.toarray()]))
    asked = grow(both, NUMBERS)
    assert asked.feature[asked.skip > 0].min() >= 60


def test_the_most_prevalent_asvs_are_asked_for(monkeypatch):
    monkeypatch.setattr(extra_trees, "MOST_FEATURES", 3)
    prevalence = np.diff(ROOTS.tocsc().indptr)
    asked = grow(ROOTS, NUMBERS)
    assert prevalence[np.unique(asked.feature[asked.skip > 0])].min() >= np.sort(prevalence)[-3]


def test_samples_that_share_no_asv_are_enough():
    apart = csr_matrix(np.eye(4))
    found = grow(apart, np.arange(4.0)).numbers(apart)
    assert np.isfinite(found).all()


def test_two_samples_are_enough():
    found = grow(csr_matrix(np.eye(2)), np.array([1.0, 3.0])).numbers(csr_matrix(np.eye(2)))
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
        rng.choice([-3e38, 0, 1, 2.5, 3e38], n).astype(np.float32),
        np.array([10, 25, 5], dtype=np.int32),
    )
    assert np.isfinite(trees.numbers(ROOTS)).all()
    np.testing.assert_allclose(trees.shares(ROOTS, np.ones(3)).sum(axis=1), 1)


def test_a_chain_of_nodes_is_not_followed_for_ever():
    """As only a crafted model has it; the value of the last node is never reached."""
    n = 50 * extra_trees.MOST_STEPS
    arrays = np.zeros(n, np.int32), np.zeros(n, np.float32), np.ones(n, np.int32)
    trees = Trees(*arrays, np.arange(n, dtype=np.float32), np.array([n], dtype=np.int32))
    assert (trees.numbers(ROOTS) == extra_trees.MOST_STEPS).all()


def test_trees_are_no_deeper_than_they_are_followed(monkeypatch):
    """Each ASV is in two samples, so that a split takes no more than two away from the others."""
    apart = csr_matrix(np.repeat(np.eye(200), 2, axis=0))
    trees = grow(apart, np.arange(400.0))
    followed = trees.numbers(apart)
    monkeypatch.setattr(extra_trees, "MOST_STEPS", 10_000)
    np.testing.assert_array_equal(trees.numbers(apart), followed)
    deeper = grow(apart, np.arange(400.0))
    assert len(deeper.skip) > len(trees.skip)


@pytest.mark.parametrize(
    ("n_samples", "n_features", "tried"),
    [(100, 10, 3), (1200, 1000, 300), (1200, 5000, 500), (4000, 5000, 150), (10**6, 5000, 50)],
)
def test_more_samples_have_fewer_asvs_tried_at_a_split(n_samples, n_features, tried):
    assert extra_trees._tried(n_samples, n_features) == tried


def test_covariates_stand_beside_the_asvs_as_they_are():
    beside, asked = RNG.standard_normal((60, 3)), RNG.standard_normal((OTHERS.shape[0], 3))
    target = NUMBERS + 3 * beside[:, 1]
    made = ExtraTreesRegressor(**OPTIONS, min_samples_leaf=2, random_state=5)

    def both(roots, numbers, power):
        return np.concatenate([dense(roots, power), numbers], axis=1, dtype=np.float32)

    expected = [
        made.fit(both(ROOTS, beside, p), target).predict(both(OTHERS, asked, p)) for p in POWERS
    ]
    trees = grow(ROOTS, target, covariates=beside, seed=5)
    found = trees.numbers(side_by_side(OTHERS, asked.astype(np.float32)))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-4)
    assert trees.feature.max() == ROOTS.shape[1] + 2


@pytest.mark.parametrize("classes", [False, True])
def test_weights_reach_the_trees(classes):
    weights, target = RNG.random(60) + 0.1, CLASSES if classes else NUMBERS
    kind = ExtraTreesClassifier if classes else ExtraTreesRegressor
    options = OPTIONS if classes else {**OPTIONS, "min_samples_leaf": 2}
    grown = grow(ROOTS, target, classes=classes, weights=weights, seed=5)
    said = []
    for power in POWERS:
        made = kind(**options, random_state=5).fit(dense(ROOTS, power), target, weights)
        said += [tree.predict(dense(OTHERS, power)) for tree in made.estimators_]
    np.testing.assert_allclose(grown._values(OTHERS), np.array(said).T, atol=1e-5)
