"""What each sample of a run is used for, said before the run begins."""

import pandas as pd

from q2_aam.core.data.splits.roles import FEW_READS, NO_READS, check_ids, roles_table
from q2_aam.core.training.preparation.run_data import RunData
from q2_aam.core.training.preparation.run_input import RunInput


def check_kept_ids(inputs: RunInput) -> None:
    """Refuse ids that the model is to keep and cannot, before anything takes long.

    Raises
    ------
    ValueError
        See `check_ids`.
    """
    if inputs.settings.record.keep_sample_ids:
        check_ids([*inputs.table.sample_ids, *(inputs.left_out or ())])


def roles_of(inputs: RunInput, data: RunData) -> pd.DataFrame | None:
    """List the samples that were given to a run with what they are used for.

    Returns
    -------
    pandas.DataFrame, optional
        See `roles_table`; None if the model is to keep no ids.
    """
    if not inputs.settings.record.keep_sample_ids:
        return None
    training = data.training(0).table.sample_ids
    validation = () if data.validation is None else data.validation.table.sample_ids
    used = {*training, *validation}
    reasons = dict(inputs.left_out or {})
    shallow = FEW_READS if inputs.settings.data.rarefy_depth else NO_READS
    for name, reads in zip(inputs.table.sample_ids, inputs.table.depths, strict=True):
        if name not in used:
            reasons[name] = shallow if reads else NO_READS
    return roles_table(training, validation, reasons)
