"""How predictions are mixed, and what validation samples can say of it."""

import numpy as np
import pytest
import torch

from q2_aam.core.model.stored_samples.ensemble_weights import (
    PRIOR_SAMPLES,
    cautious_ensemble_weight,
    ensemble_weight,
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


def test_mix_leaves_the_first_alone_where_the_second_knows_nothing():
    model, other = torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    assert mix(model, other, torch.tensor([0.0, 0.5])).squeeze(1).tolist() == [1.0, 2.0]


def test_many_samples_decide_who_is_right():
    target, right, noise = of(MANY)
    assert cautious_ensemble_weight(right, noise, known(MANY), target) == 0
    assert cautious_ensemble_weight(noise, right, known(MANY), target) == 1
    assert ensemble_weight(right, noise, target) == pytest.approx(0, abs=0.01)
    assert ensemble_weight(noise, right, target) == pytest.approx(1, abs=0.01)


def test_two_that_err_in_opposite_ways_are_averaged():
    target, right, noise = of(MANY)
    opposite = right + noise, right - noise
    assert cautious_ensemble_weight(*opposite, known(MANY), target) == pytest.approx(0.5, abs=0.01)
    assert ensemble_weight(*opposite, target) == 0.5


def test_few_samples_move_equals_from_the_middle_in_proportion():
    target, right, noise = of(25)
    weight = 25 / (25 + PRIOR_SAMPLES)
    assert ensemble_weight(noise, right, target) == pytest.approx((1 - weight) / 2 + weight)
    assert ensemble_weight(right, noise, target) == pytest.approx((1 - weight) / 2)


def test_the_second_is_trusted_where_nothing_shows_that_it_is_worse():
    """It errs more in nine samples and less in seven, which may be chance."""
    target, right, _ = of(16)
    signs = np.where(np.arange(16) % 2 == 0, 1.0, -1.0)[:, None]
    second = np.where(np.arange(16) < 9, 1.2, 0.8)[:, None] * signs
    share = cautious_ensemble_weight(right + signs, right + second, known(16), target)
    assert share == pytest.approx(PRIOR_SAMPLES / (16 + PRIOR_SAMPLES))


def test_the_second_is_not_trusted_where_few_samples_show_that_it_is_worse():
    target, right, noise = of(16)
    assert cautious_ensemble_weight(right, right + 1 + 0.1 * noise, known(16), target) == 0


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_samples_show_nothing(n):
    target, right, _ = of(n)
    worse = right + np.array([[0.11], [0.3]])[:n]
    assert cautious_ensemble_weight(right + 0.1, worse, known(n), target) > 0.95


def test_what_makes_no_difference_is_what_is_believed():
    target, right, _ = of(400)
    assert ensemble_weight(right, right, target) == 0.5
    assert cautious_ensemble_weight(right, right + 1, np.zeros(400), target) == 1


def test_what_the_second_does_not_know_does_not_count_against_it():
    target, right, noise = of(MANY)
    half = np.arange(MANY) % 2 == 0
    second = np.where(half[:, None], right, right + 10 + noise)
    assert cautious_ensemble_weight(noise, second, half.astype(float), target) == 1


def test_classes_follow_the_likelihood():
    target = np.random.default_rng(7).integers(0, 2, MANY)
    right = np.where(np.eye(2)[target] > 0, 0.9, 0.1)
    assert cautious_ensemble_weight(right, 1 - right, known(MANY), target, np.ones(2)) == 0
    assert ensemble_weight(1 - right, right, target, np.ones(2)) == pytest.approx(1, abs=0.01)


def test_the_weights_of_classes_count():
    """Each is right about one class; the weights say which of them matters."""
    target = np.arange(MANY) % 2
    for_first, for_second = np.tile([0.9, 0.1], (MANY, 1)), np.tile([0.1, 0.9], (MANY, 1))
    shares = [
        ensemble_weight(for_first, for_second, target, np.array(w)) for w in ([9, 1], [1, 9])
    ]
    assert shares[0] < 0.2
    assert shares[1] > 0.8
