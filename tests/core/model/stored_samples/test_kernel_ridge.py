import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from q2_aam.core.model.specification import Code
from q2_aam.core.model.stored_samples import kernel_ridge as regression
from q2_aam.core.model.stored_samples.kernel_ridge import fit_classes, fit_numbers

RNG = np.random.default_rng(5)


def similar(x, y, scale=1.0):
    return np.exp(-np.abs(x[:, None] - y) / scale)


def test_left_out_equals_leaving_each_sample_out():
    x, y = RNG.random(12), RNG.random((12, 2))
    kernel = similar(x, x)
    for ridge, fitted in regression._Solver(kernel).left_out(y):
        for i in range(12):
            others = np.arange(12) != i
            model = KernelRidge(alpha=ridge, kernel="precomputed")
            # The mean that is taken off is that of all samples.
            model.fit(kernel[np.ix_(others, others)], (y - y.mean(axis=0))[others])
            expected = model.predict(kernel[i, others][None]) + y.mean(axis=0)
            np.testing.assert_allclose(fitted[i], expected[0], atol=1e-9)


def test_numbers_learns_a_smooth_function():
    x, new = RNG.random(200) * 10, RNG.random(50) * 10
    fitted = fit_numbers(similar(x, x), np.sin(x) + 0.1 * RNG.standard_normal(200))
    error = fitted.numbers(similar(new, x)) - np.sin(new)
    assert np.square(error).mean() < 0.05 * np.sin(new).var()


def test_numbers_do_not_depend_on_the_order_of_samples():
    x, new = RNG.random(60) * 5, RNG.random(9) * 5
    y, order = np.cos(x), RNG.permutation(60)
    one = fit_numbers(similar(x, x), y).numbers(similar(new, x))
    other = fit_numbers(similar(x[order], x[order]), y[order]).numbers(similar(new, x[order]))
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_numbers_of_noise_stay_near_the_mean():
    x, y = RNG.random(150), RNG.standard_normal(150)
    guess = fit_numbers(similar(x, x, 0.001), y).numbers(similar(RNG.random(80), x, 0.001))
    assert guess.std() < 0.3 * y.std()


@pytest.mark.parametrize("n", [2, 3, 5, 13])
def test_numbers_can_be_learnt_from_few_samples(n):
    x = np.arange(n, dtype=float)
    assert np.isfinite(fit_numbers(similar(x, x), x % 3 + 0.5 * x).numbers(similar(x, x))).all()


def test_bins_of_few_distinct_values_are_these_values():
    indicators, means = regression._bins(np.array([2.0, 0, 0, 7, 2, 2]), 8)
    assert means.tolist() == [0, 2, 7]
    assert indicators.sum(axis=0).tolist() == [2, 3, 1]


def test_bins_are_of_like_size():
    indicators, means = regression._bins(RNG.random(400), 8)
    assert (np.abs(indicators.sum(axis=0) - 50) <= 1).all()
    assert (np.diff(means) > 0).all()


def test_shares_sum_to_one_and_find_the_class():
    x = RNG.random(120) * 3
    classes = x.astype(int)
    fitted = fit_classes(similar(x, x, 0.3), classes, np.ones(3))
    shares = fitted.shares(similar(x, x, 0.3))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares > 0).all()
    assert (shares.argmax(axis=1) == classes).mean() > 0.95


def test_factors_favour_a_rare_class():
    x = RNG.random(200)
    classes = (x + 0.2 * RNG.standard_normal(200) > 0.85).astype(int)
    sizes = np.bincount(classes)
    alike = similar(x, x, 0.3)
    plain = fit_classes(alike, classes, np.ones(2)).shares(alike)
    balanced = fit_classes(alike, classes, 200 / (2 * sizes)).shares(alike)
    assert balanced[:, 1].mean() > plain[:, 1].mean()


def test_sharpened_raises_the_large_and_never_gives_zero():
    fitted = np.array([[0.5, 0.3, -0.2]])
    plain = regression.sharpened(fitted, Code(3, 1.0, 1.0), np.ones(3))
    sharp = regression.sharpened(fitted, Code(3, 3.0, 1.0), np.ones(3))
    assert sharp[0, 0] > plain[0, 0] > plain[0, 1] > sharp[0, 1] > 0


def test_left_out_leaves_whole_groups_out():
    x, y, groups = (
        RNG.random(12),
        RNG.random((12, 2)),
        np.array([0, 1, 1, 2, 0, 3, 3, 3, 2, 4, 1, 5]),
    )
    kernel = similar(x, x)
    for ridge, fitted in regression._Solver(kernel, groups).left_out(y):
        for group in range(6):
            others = groups != group
            model = KernelRidge(alpha=ridge, kernel="precomputed")
            model.fit(kernel[np.ix_(others, others)], (y - y.mean(axis=0))[others])
            expected = model.predict(kernel[np.ix_(~others, others)]) + y.mean(axis=0)
            np.testing.assert_allclose(fitted[~others], expected, atol=1e-9)


def test_numbers_of_persons_are_not_chosen_by_how_well_they_are_recognised():
    """Ten samples of a person are nearly equal, and what is learnt is noise of the persons."""
    rng, person = np.random.default_rng(0), np.repeat(np.arange(40), 5)
    x = rng.random(40)[person] * 1000 + 0.01 * rng.random(200)
    y = rng.standard_normal(40)[person]
    new = rng.random(80) * 1000
    recognised = fit_numbers(similar(x, x), y).numbers(similar(new, x))
    guess = fit_numbers(similar(x, x), y, person).numbers(similar(new, x))
    assert guess.std() < 0.5 * recognised.std()


def test_whole_weights_are_as_many_copies_of_a_sample():
    x, new = RNG.random(30) * 5, RNG.random(9) * 5
    y, copies = np.sin(x), RNG.integers(1, 4, 30)
    often = np.repeat(np.arange(30), copies)
    solver = regression._Solver(similar(x, x), weights=copies.astype(float))
    repeated = regression._Solver(similar(x[often], x[often]))
    columns = y[:, None], y[often][:, None]
    for one, many in zip(solver.left_out(columns[0]), repeated.left_out(columns[1]), strict=True):
        assert one[0] == many[0]
    code = Code(1, 1.0, 1.0)
    for solved, at, column in ((solver, x, columns[0]), (repeated, x[often], columns[1])):
        mean = solved.mean(column)
        fitted = solved.solve([(0.5, code, column, mean)], np.ones(1), 0.0)
        said = fitted.intercept + similar(new, at) @ fitted.dual
        if solved is solver:
            expected = said
    np.testing.assert_allclose(said, expected, atol=1e-9)


def test_left_out_with_weights_equals_leaving_each_sample_out():
    x, y, weights = RNG.random(12), RNG.random((12, 1)), RNG.random(12) + 0.1
    kernel, mean = similar(x, x), np.average(y, axis=0, weights=weights)
    for ridge, fitted in regression._Solver(kernel, weights=weights).left_out(y):
        for i in range(12):
            others = np.arange(12) != i
            model = KernelRidge(alpha=ridge, kernel="precomputed")
            inside = kernel[np.ix_(others, others)]
            model.fit(inside, (y - mean)[others], sample_weight=weights[others])
            expected = model.predict(kernel[i, others][None]) + mean
            np.testing.assert_allclose(fitted[i], expected[0], atol=1e-9)


def test_equal_weights_change_nothing():
    x = RNG.random(40) * 5
    y, labels = np.sin(x), (x > 2).astype(int)
    plain = fit_numbers(similar(x, x), y)
    weighed = fit_numbers(similar(x, x), y, weights=np.ones(40))
    np.testing.assert_allclose(plain.dual, weighed.dual, atol=1e-9)
    plain = fit_classes(similar(x, x), labels, np.ones(2))
    weighed = fit_classes(similar(x, x), labels, np.ones(2), weights=np.ones(40))
    np.testing.assert_allclose(plain.dual, weighed.dual, atol=1e-9)
