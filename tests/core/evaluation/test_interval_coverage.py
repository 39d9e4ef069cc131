"""How many values lie between quantiles."""

import numpy as np
import pytest

from q2_aam.core.evaluation import interval_coverage

LEVELS = (0.05, 0.25, 0.5, 0.95)


def test_coverage_pairs_quantiles_from_the_outermost():
    predicted = np.array([[0.0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 9], [0, 1, 2, 3]])
    held = interval_coverage.coverage(predicted, np.array([-1.0, 0, 8, 4]), LEVELS)
    assert len(held) == 1  # 0.25 has no partner above the median
    widest = held.iloc[0]
    assert widest[["low", "high", "nominal"]].tolist() == pytest.approx([0.05, 0.95, 0.9])
    assert widest[["covered", "below", "above"]].tolist() == [0.5, 0.25, 0.25]
    assert widest[["mean_width", "median_width"]].tolist() == [4.5, 3]
    five = interval_coverage.coverage(
        np.arange(5.0)[None], np.array([1.5]), (0.1, 0.2, 0.5, 0.8, 0.9)
    )
    assert five[["low", "high"]].to_numpy().tolist() == [[0.1, 0.9], [0.2, 0.8]]
    assert five["covered"].tolist() == [1, 1]
