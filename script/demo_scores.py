"""Print how well the demo's predictions do against predicting the mean or the majority."""

import sys
from pathlib import Path

import pandas as pd
import qiime2


def main(directory):
    """Compare the predictions in the demo's directory with the metadata of the test samples."""
    directory = Path(directory)
    metadata = pd.read_csv(directory / "metadata.tsv", sep="\t", index_col="sample-id")
    train = metadata[metadata["split"] == "train"]
    age = qiime2.Artifact.load(str(directory / "age-predictions.qza")).view(pd.Series)
    site = qiime2.Artifact.load(str(directory / "site-predictions.qza")).view(pd.Series)

    true_age, true_site = metadata.loc[age.index, "age"], metadata.loc[site.index, "site"]
    mean_age, common_site = train["age"].mean(), train["site"].mode()[0]
    rows = [
        ("age", len(age), "R2", r2(true_age, age), "predicting the mean", r2(true_age, mean_age)),
        (
            "age",
            len(age),
            "mean absolute error (years)",
            (true_age - age).abs().mean(),
            "predicting the mean",
            (true_age - mean_age).abs().mean(),
        ),
        (
            "site",
            len(site),
            "accuracy",
            (true_site == site).mean(),
            "predicting the commonest",
            (true_site == common_site).mean(),
        ),
    ]
    for target, n, score, value, baseline, baseline_value in rows:
        print(
            f"{target:5}{n:4} samples   {score:28}{value:6.2f}   {baseline}: {baseline_value:.2f}"
        )


def r2(true, predicted):
    """Coefficient of determination of a prediction, a Series or one number for all."""
    return 1 - ((true - predicted) ** 2).sum() / ((true - true.mean()) ** 2).sum()


if __name__ == "__main__":
    main(sys.argv[1])
