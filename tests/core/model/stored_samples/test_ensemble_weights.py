"""How predictions are mixed, and what validation samples can say of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.core.model.stored_samples.ensemble_weights import (
    EVEN,
    PRIOR_SAMPLES,
    ensemble_weights,
    mix,
)

MANY = 50 * PRIOR_SAMPLES


def of(n):
    """Return a target, and what is right but for noise about it, of n samples."""
    rng = np.random.default_rng(7)
    target = rng.standard_normal(n)
    return target, target[:, None], rng.standard_normal((n, 1))


def known(n):
    return np.ones(n)


def test_mix_leaves_the_network_alone_where_the_others_know_nothing():
    network, other = torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    said = mix(network, other, other, torch.tensor([0.0, 0.5]), (0.0, 0.5, 0.5))
    assert said.squeeze(1).tolist() == [1.0, 2.0]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-10, 10), min_size=3, max_size=3),
    st.lists(st.floats(0.1, 1), min_size=3, max_size=3),
)
def test_mix_is_the_weighted_mean_where_all_is_known(said, shares):
    weights = tuple(np.array(shares) / sum(shares))
    mixed = mix(*(np.array([[x]]) for x in said), known(1), weights)
    np.testing.assert_allclose(mixed, [[np.dot(weights, said)]], atol=1e-9)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_many_samples_decide_who_is_right(place):
    target, right, noise = of(MANY)
    parts = [right if i == place else noise + i for i in range(3)]
    weights = ensemble_weights(parts, known(MANY), target)
    assert weights[place] > 0.95
    assert sum(weights) == pytest.approx(1)


def test_few_samples_move_even_weights_in_proportion():
    target, right, noise = of(25)
    trusted = 25 / (25 + PRIOR_SAMPLES)
    weights = ensemble_weights([noise, right, noise + 3], known(25), target)
    expected = (1 - trusted) * np.array(EVEN) + trusted * np.array([0, 1, 0])
    np.testing.assert_allclose(weights, expected)


def test_two_that_err_in_opposite_ways_are_averaged():
    target, right, noise = of(MANY)
    weights = ensemble_weights([right + noise, right - noise, right + 9], known(MANY), target)
    np.testing.assert_allclose(weights[:2], 0.5, atol=0.01)


def test_what_makes_no_difference_stays_even():
    target, right, _ = of(400)
    np.testing.assert_allclose(ensemble_weights([right] * 3, known(400), target), EVEN, atol=0.02)


def test_what_is_not_known_does_not_count_against_a_part():
    target, right, noise = of(MANY)
    half = np.arange(MANY) % 2 == 0
    trees = np.where(half[:, None], right, right + 10 + noise)
    weights = ensemble_weights([noise, noise + 5, trees], half.astype(float), target)
    assert weights[2] > 0.95


def test_classes_follow_the_likelihood():
    target = np.random.default_rng(7).integers(0, 2, MANY)
    right = np.where(np.eye(2)[target] > 0, 0.9, 0.1)
    weights = ensemble_weights([1 - right, right, 1 - right], known(MANY), target, np.ones(2))
    assert weights[1] > 0.95


def test_the_weights_of_classes_count():
    """Two parts are right about one class each; the weights say which of them matters."""
    target = np.arange(MANY) % 2
    first, second = np.tile([0.9, 0.1], (MANY, 1)), np.tile([0.1, 0.9], (MANY, 1))
    neither = np.full((MANY, 2), 0.01)
    found = [
        ensemble_weights([first, second, neither], known(MANY), target, np.array(w))
        for w in ([9, 1], [1, 9])
    ]
    assert found[0][0] > 0.8
    assert found[1][1] > 0.8
