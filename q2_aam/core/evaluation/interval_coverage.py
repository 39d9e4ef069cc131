"""How many true values lie between predicted quantiles."""

import numpy as np
import pandas as pd

from q2_aam.core.options.quantile_levels import MEDIAN


def coverage(predicted: np.ndarray, true: np.ndarray, levels: tuple[float, ...]) -> pd.DataFrame:
    """Compare how many values lie between two quantiles with how many should.

    Parameters
    ----------
    predicted : ndarray of shape (n, Q)
    true : ndarray of shape (n,)
    levels : tuple of float

    Returns
    -------
    DataFrame
        A row for the outermost pair of quantiles, then the next within, as long as there is one
        on either side of the median: `low`, `high`, `nominal` (their difference), `covered`,
        `below` and `above` (shares of the values), `mean_width` and `median_width`.
    """
    middle, rows = levels.index(MEDIAN), []
    for i in range(min(middle, len(levels) - 1 - middle)):
        lower, upper = predicted[:, i], predicted[:, -1 - i]
        below, above = (true < lower).mean(), (true > upper).mean()
        rows.append(
            {
                "low": levels[i],
                "high": levels[-1 - i],
                "nominal": levels[-1 - i] - levels[i],
                "covered": 1 - below - above,
                "below": below,
                "above": above,
                "mean_width": (upper - lower).mean(),
                "median_width": np.median(upper - lower),
            }
        )
    return pd.DataFrame(rows)
