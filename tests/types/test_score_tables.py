"""Scores as a table: one row a group, and nothing that is not finite."""

import numpy as np
import pandas as pd
import qiime2

from q2_aam.core.evaluation.scores import Score
from q2_aam.types.scores import read_scores, score_table, show_scores, write_scores


def test_scores_stand_before_their_intervals():
    scores = {"r2": Score(0.5, 0.25, 0.75, 0.0), "mae": Score(2.0, 1.0, 3.0, 4.0)}
    table = score_table([("gut", 3, scores)], ["group1"])
    expected = pd.DataFrame(
        {"group": "gut", "n_samples": 3, "r2": 0.5, "mae": 2.0, "r2_low": 0.25, "r2_high": 0.75,
         "mae_low": 1.0, "mae_high": 3.0},
        index=pd.Index(["group1"], name="id"),
    )  # fmt: skip
    pd.testing.assert_frame_equal(table, expected)


def test_what_is_not_finite_is_missing():
    rows = [("a b", 1, {"log_loss": Score(np.inf, 1.0, np.inf, -np.inf)})]
    rows += [("NA", 2, {"log_loss": Score(1.0, -np.inf, 2.0, np.nan)})]
    table = score_table(rows, ["group1", "group2"])
    assert table["log_loss"].isna().tolist() == [True, False]
    assert table["log_loss_low"].isna().tolist() == [False, True]
    assert table["log_loss_high"].isna().tolist() == [True, False]
    written = write_scores(table)
    written.validate()
    assert read_scores(written)["group"].tolist() == ["a b", "NA"]
    assert isinstance(show_scores(written), qiime2.Metadata)
