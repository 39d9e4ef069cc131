"""Predicting from similar samples: kernel ridge regression of a target and its bins (torch-free).

Regression is done several times over: once of the value itself, and once of each of several
divisions of the values into bins, where the regression predicts in which bin a sample is, and the
mean under these shares, sharpened, predicts the value. The mean of several samples at once is not
drawn to the middle where the target is spread unevenly, as ages of studies are. How much each is
trusted follows from leave-one-out predictions, which ridge regression gives in closed form.

Shapes: N samples, M others, C codes of the target (value, bins, classes) side by side.

References
----------
.. [1] Saunders, C., Gammerman, A., & Vovk, V. (1998). Ridge regression learning algorithm in dual
   variables. ICML.
.. [2] Breiman, L. (1996). Stacked regressions. Machine Learning, 24, 49-64.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import nnls

from q2_aam.core.model.specification import Code

BINS = (4, 8, 16, 32)
RIDGES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SHARPNESSES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
LEAST_PER_BIN = 3
LEAST_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class Regression:
    """What is known of the samples that others are compared with.

    Parameters
    ----------
    dual : ndarray of shape (N, C)
        Coefficients: the prediction is ``intercept + K @ dual`` for similarities K (M, N).
    intercept : ndarray of shape (C,)
        Mean of each code.
    value : ndarray of shape (C,)
        What a code stands for: the mean of a bin, or the factor of a class's share.
    codes : tuple of Code
        Side by side in C.
    error : float, optional
        Mean squared error, or negative log-likelihood of classes, of what others predict of each
        sample.
    """

    dual: np.ndarray
    intercept: np.ndarray
    value: np.ndarray
    codes: tuple[Code, ...]
    error: float | None = None

    def numbers(self, similarity: np.ndarray) -> np.ndarray:
        """Predict values (M,) from similarities (M, N)."""
        fitted = self.intercept + similarity @ self.dual
        return combine_numbers(fitted, self.value, self.codes)

    def shares(self, similarity: np.ndarray) -> np.ndarray:
        """Predict the shares of the classes (M, C), which sum to one, from similarities (M, N)."""
        return sharpened(self.intercept + similarity @ self.dual, self.codes[0], self.value)


def combine_numbers(fitted: np.ndarray, value: np.ndarray, codes) -> np.ndarray:
    """Combine fitted codes (M, C) into values (M,); ``value`` as in `Regression`."""
    start, centre = 0, float(value[0])
    total = np.full(len(fitted), centre)
    for code in codes:
        span = slice(start, start + code.n_outputs)
        start += code.n_outputs
        total += code.weight * (_number(fitted[:, span], value[span], code) - centre)
    return total


def _number(fitted, value, code) -> np.ndarray:
    if code.n_outputs == 1:
        return fitted[:, 0]
    return sharpened(fitted, code, np.ones_like(value)) @ value


def sharpened(fitted: np.ndarray, code: Code, factor: np.ndarray) -> np.ndarray:
    """Make shares of what is fitted to indicators (M, C); they sum to one."""
    shares = np.maximum(fitted, LEAST_SHARE) ** code.sharpness * factor
    return shares / shares.sum(axis=1, keepdims=True)


def fit_numbers(
    similarity: np.ndarray, target: np.ndarray, groups=None, weights=None
) -> Regression:
    """Learn a numeric target (N,) from the similarities of its samples (N, N).

    The value itself is the first code, whose ``value`` is the mean of the target.

    Parameters
    ----------
    similarity, target : ndarray
    groups : ndarray of shape (N,), optional
        Samples of a group are left out together.
    weights : ndarray of shape (N,), optional
        How much the error of each sample counts.
    """
    solver, parts, left_out = _Solver(similarity, groups, weights), [], []
    mean = solver.mean(target)
    columns = {1: (target[:, None], np.array([mean]))}
    for n in BINS:
        indicators, value = _bins(target, min(n, len(target) // LEAST_PER_BIN))
        columns.setdefault(len(value), (indicators, value))
    for indicators, value in columns.values():
        best = None
        for ridge, fitted in solver.left_out(indicators):
            for sharpness in SHARPNESSES if len(value) > 1 else (1.0,):
                code = Code(len(value), sharpness, 1.0)
                guess = _number(fitted, value, code)
                error = solver.mean(np.square(guess - target))
                if best is None or error < best[0]:
                    best = (error, ridge, code, guess)
        parts.append((*best[1:3], indicators, value))
        left_out.append(best[3])
    guesses, root = np.stack(left_out, axis=1) - mean, solver.roots
    weights = _stack(root[:, None] * guesses, root * (target - mean))
    error = solver.mean(np.square(guesses @ weights - (target - mean)))
    return solver.solve(parts, weights, float(error))


def fit_classes(
    similarity: np.ndarray, target: np.ndarray, factor: np.ndarray, groups=None, weights=None
) -> Regression:
    """Learn classes (N,), numbered from 0, from the similarities of their samples (N, N).

    Parameters
    ----------
    similarity, target : ndarray
    factor : ndarray of shape (n_classes,)
        What the share of each class is multiplied with: ones, or more for rare classes.
    groups : ndarray of shape (N,), optional
        Samples of a group are left out together.
    weights : ndarray of shape (N,), optional
        How much the error of each sample counts.
    """
    solver, indicators = _Solver(similarity, groups, weights), np.eye(len(factor))[target]
    best = None
    for ridge, fitted in solver.left_out(indicators):
        for sharpness in SHARPNESSES:
            code = Code(len(factor), sharpness, 1.0)
            shares = sharpened(fitted, code, factor)[np.arange(len(target)), target]
            loss = -solver.mean(factor[target] * np.log(shares))
            if best is None or loss < best[0]:
                best = (loss, ridge, code)
    return solver.solve([(*best[1:], indicators, factor)], np.ones(1), float(best[0]))


def _bins(target: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide values into bins of like size, or one a value if there are few.

    Returns
    -------
    indicators : ndarray of shape (N, bins)
    means : ndarray of shape (bins,)
    """
    distinct, number = np.unique(target, return_inverse=True)
    if len(distinct) > n:
        cuts = np.unique(np.quantile(target, np.arange(1, n) / max(n, 1)))
        number = np.unique(np.digitize(target, cuts), return_inverse=True)[1]
    indicators = np.eye(number.max() + 1)[number]
    return indicators, indicators.T @ target / indicators.sum(axis=0)


def _stack(guesses: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weigh guesses (N, G) so that their sum is nearest to the target (N,); at most one in all."""
    weights, _ = nnls(guesses, target)
    return weights / max(weights.sum(), 1.0)


class _Solver:
    """Ridge regressions on one matrix of similarities, decomposed once.

    Errors that count by weights w are those of a plain regression in which all that belongs to a
    sample, its similarities and what is fitted, is multiplied with the root of its weight.
    """

    def __init__(self, similarity: np.ndarray, groups=None, weights=None):
        self.weights = np.ones(len(similarity)) if weights is None else weights.astype(float)
        self.roots = np.sqrt(self.weights)
        if weights is not None:
            similarity = self.roots[:, None] * similarity * self.roots
        self.levels, self.vectors = eigh(similarity)
        self.groups = None
        if groups is not None and len(np.unique(groups)) < len(groups):
            order = np.argsort(groups, kind="stable")
            starts = np.unique(groups[order], return_index=True)[1]
            self.groups = np.split(order, starts[1:])

    def mean(self, values: np.ndarray):
        """Average values of samples (N, ...), each by its weight."""
        return np.average(values, axis=0, weights=self.weights)

    def left_out(self, columns: np.ndarray):
        """Yield each ridge and what others (of other groups) predict of each sample, (N, C)."""
        roots = self.roots[:, None]
        turned = self.vectors.T @ (roots * (columns - self.mean(columns)))
        for ridge in RIDGES:
            shrunk = 1 / (np.maximum(self.levels, 0) + ridge)
            dual = self.vectors @ (shrunk[:, None] * turned)
            yield ridge, columns - self._residuals(dual, shrunk) / roots

    def _residuals(self, dual: np.ndarray, shrunk: np.ndarray) -> np.ndarray:
        """Return by how much the others miss each sample, (N, C).

        The inverse of the matrix has a block for each group; of a group of one, it is a number.
        """
        if self.groups is None:
            return dual / (np.square(self.vectors) @ shrunk)[:, None]
        found = np.empty_like(dual)
        for rows in self.groups:
            mine = self.vectors[rows]
            found[rows] = np.linalg.solve((mine * shrunk) @ mine.T, dual[rows])
        return found

    def solve(self, parts, weights, error: float) -> Regression:
        duals, means, codes = [], [], []
        for (ridge, code, columns, _), weight in zip(parts, weights, strict=True):
            mean, roots = self.mean(columns), self.roots[:, None]
            shrunk = 1 / (np.maximum(self.levels, 0) + ridge)
            turned = self.vectors.T @ (roots * (columns - mean))
            duals.append(roots * (self.vectors @ (shrunk[:, None] * turned)))
            means.append(mean)
            codes.append(Code(code.n_outputs, code.sharpness, float(weight)))
        values = [value for *_, value in parts]
        return Regression(
            np.concatenate(duals, axis=1), np.concatenate(means), np.concatenate(values),
            tuple(codes), error,
        )  # fmt: skip
