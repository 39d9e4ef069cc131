"""What each sample of a run was used for (torch-free)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

TRAINING, VALIDATION, LEFT_OUT = "training", "validation", "left out"
ROLES = TRAINING, VALIDATION, LEFT_OUT
NO_METADATA, NO_VALUE = "not in the metadata", "no value"
NO_GROUP, NO_WEIGHT = "no group", "no weight, or no group to balance"
NO_READS, FEW_READS = "no reads", "fewer reads than rarefy_depth"
REASONS = NO_METADATA, NO_VALUE, NO_GROUP, NO_WEIGHT, NO_READS, FEW_READS
"""Why a sample is left out."""

ID, ROLE, REASON = "sample-id", "role", "reason"
MAX_SAMPLES, MAX_ID_BYTES = 500_000, 2000


def left_out(sample_ids: Iterable[str], stages: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Say why samples of a table are no part of a run, before their reads are looked at.

    Parameters
    ----------
    sample_ids : sequence of str
        Samples of the table.
    stages : dict of str to sequence of str
        The samples that are left after something was asked of them, one after the other; by the
        reason for which the others are left out.

    Returns
    -------
    dict of str to str
        The reason, by sample id.
    """
    rest, reasons = list(sample_ids), {}
    for reason, left in stages.items():
        left = set(left)
        reasons |= {name: reason for name in rest if name not in left}
        rest = [name for name in rest if name in left]
    return reasons


def roles_table(
    training: Iterable[str], validation: Iterable[str], reasons: Mapping[str, str]
) -> pd.DataFrame:
    """List samples with what they were used for.

    Parameters
    ----------
    training, validation : sequences of str
        Sample ids.
    reasons : dict of str to str
        Why the samples that are left out are.

    Returns
    -------
    pandas.DataFrame
        By sample id: 'role', one of `ROLES`, and 'reason', which is empty unless a sample is left
        out.

    Raises
    ------
    ValueError
        If a sample is in two of them, or an id cannot be kept.
    """
    named = {TRAINING: list(training), VALIDATION: list(validation), LEFT_OUT: list(reasons)}
    ids = [name for names in named.values() for name in names]
    roles = np.repeat(list(named), [len(names) for names in named.values()])
    said = [*[""] * (len(ids) - len(reasons)), *reasons.values()]
    index = pd.Index(ids, name=ID, dtype=object)
    table = pd.DataFrame({ROLE: roles, REASON: said}, index, dtype=object)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise ValueError(f"Sample '{twice}' has more than one role.")
    check_ids(ids)
    return table


def check_ids(ids: Sequence[str]) -> None:
    """Refuse ids that a model cannot keep.

    Raises
    ------
    ValueError
        If one has a control character or more than `MAX_ID_BYTES` bytes, or there are more than
        `MAX_SAMPLES`.
    """
    way_out = "or keep no sample ids in the model (--p-no-keep-sample-ids)"
    if len(ids) > MAX_SAMPLES:
        raise ValueError(
            f"A model can keep {MAX_SAMPLES:,} sample ids, and there are {len(ids):,}: give fewer "
            f"samples, {way_out}."
        )
    wrong = [name for name in ids if not _can_be_kept(name)]
    if wrong:
        raise ValueError(
            f"{len(wrong)} sample ids cannot be kept in the model, such as {wrong[0][:40]!r}: "
            f"they are empty, longer than {MAX_ID_BYTES} bytes, or have a control character such "
            f"as a tab. Rename these samples in the table and in the metadata, {way_out}."
        )


def _can_be_kept(name: str) -> bool:
    try:
        data = name.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(data) <= MAX_ID_BYTES and min(data) >= 32 and 127 not in data
