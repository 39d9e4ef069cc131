"""What is known of folds before anything is trained: whether their models can be, and how many."""

import logging

from q2_aam.core.model.members import MAX_MEMBERS

log = logging.getLogger(__name__)

MANY_FOLDS, MOST_LISTED = 10, 5
SHORT, LONG = 2, 60
"""Seconds: of a fold, below which nothing is said, and of all, from which it is a warning."""
WAY_OUT = (
    "Choose other folds, or leave these folds out with untrainable_folds 'ignore' "
    "(--p-untrainable-folds ignore)."
)


def trainable_folds(names: list[str], problems: dict[str, str], untrainable: str) -> list[str]:
    """List the folds that can be predicted, as the other folds can train a model.

    Parameters
    ----------
    names : list of str
        All folds.
    problems : dict of str to str
        Why a fold cannot be predicted, by its name.
    untrainable : {'error', 'ignore'}
        What to do if there are such folds.

    Raises
    ------
    ValueError
        If there are such folds and 'error' is chosen, or no fold is left. One message lists all.
    """
    if not problems:
        return names
    folds_of = {}
    for name, problem in problems.items():
        folds_of.setdefault(problem, []).append(name)
    listed = " ".join(
        f"Fold{'s' * (len(folds) > 1)} {', '.join(map(repr, folds))}: {problem}"
        for problem, folds in list(folds_of.items())[:MOST_LISTED]
    )
    if len(folds_of) > MOST_LISTED:
        listed += f" (… and {len(folds_of) - MOST_LISTED} other reasons)"
    said = (
        f"{len(problems)} of {len(names)} folds cannot be predicted, because the samples of the "
        f"other folds cannot train a model for them. {listed}"
    )
    if len(problems) == len(names):
        raise ValueError(f"{said} Choose other folds.")
    if untrainable == "error":
        raise ValueError(f"{said} {WAY_OUT}")
    log.warning("%s They are left out, so their samples are not predicted.", said)
    return [name for name in names if name not in problems]


def tell_of_many(n_folds: int, n_samples: int) -> None:
    """Say beforehand that many folds take as many trainings."""
    if n_folds > MANY_FOLDS:
        log.warning(
            "There are %d folds of %d samples, so %d models are trained. This takes %d times as "
            "long as one training.",
            n_folds, n_samples, n_folds, n_folds,
        )  # fmt: skip
    if n_folds > MAX_MEMBERS:
        log.warning(
            "An ensemble has at most %d models. So %d of these %d models are put together.",
            MAX_MEMBERS, MAX_MEMBERS, n_folds,
        )  # fmt: skip


def tell_of_time(seconds: float, n_folds: int) -> None:
    """Say how long all folds will take, if the first one took so many seconds.

    Where QIIME 2 runs in parallel, actions return at once, which tells nothing.
    """
    if seconds < SHORT or n_folds < 2:
        return
    level = logging.WARNING if seconds * n_folds > LONG else logging.INFO
    log.log(
        level,
        "The first of %d folds took %s. All folds will take about %s.",
        n_folds, _duration(seconds), _duration(seconds * n_folds),
    )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
