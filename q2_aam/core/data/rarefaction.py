"""Rarefaction: the same number of reads of each sample, drawn without replacement."""

import logging
import zlib
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from q2_aam.core.data.sample_table import SampleTable

log = logging.getLogger(__name__)

MAX_DRAWN_FROM = 10**9
"""Reads below which numpy draws from a multivariate hypergeometric distribution."""


def rarefy(table: SampleTable, depth: int, seed: int, *, keep_shallow: bool = False):
    """Draw ``depth`` reads without replacement from each sample.

    Each sample's draw depends on the seed, its id and its own counts only, so it is the same in
    whatever table the sample lies.

    Parameters
    ----------
    table : SampleTable
    depth : int
        Reads to draw; 0 keeps everything.
    seed : int
    keep_shallow : bool
        Keep samples with fewer reads as they are, instead of leaving them out.

    Returns
    -------
    SampleTable

    Raises
    ------
    ValueError
        If no sample is left.
    """
    depths = table.depths
    shallow = np.flatnonzero(depths < max(depth, 1))
    if keep_shallow:
        kept, untouched = np.flatnonzero(depths > 0), set(shallow)
    else:
        kept, untouched = np.flatnonzero(depths >= max(depth, 1)), set()
    if not len(kept):
        raise ValueError(
            f"No sample is left after rarefaction to {depth} reads: the deepest of "
            f"{table.n_samples} samples has {int(depths.max(initial=0))}; choose a smaller "
            "rarefy_depth (--p-rarefy-depth), or 0 for no rarefaction."
        )
    _report_shallow(table, shallow, depth, keep_shallow)
    table = table.take(kept)
    if depth == 0:
        return table
    rows = [
        _draw(table, i, depth, seed) if kept[i] not in untouched else _row(table, i)
        for i in range(table.n_samples)
    ]
    indptr = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([columns for columns, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return replace(table, counts=csr_matrix((values, columns, indptr), shape=table.counts.shape))


def _row(table, i):
    span = slice(table.counts.indptr[i], table.counts.indptr[i + 1])
    return table.counts.indices[span], table.counts.data[span]


def _draw(table, i, depth, seed):
    columns, values = _row(table, i)
    if values.sum() == depth:
        return columns, values
    rng = np.random.default_rng([seed, zlib.crc32(table.sample_ids[i].encode())])
    if values.sum() < MAX_DRAWN_FROM:
        drawn = rng.multivariate_hypergeometric(values, depth, method="marginals")
    else:
        reads = rng.choice(int(values.sum()), depth, replace=False, shuffle=False)
        feature = np.searchsorted(np.cumsum(values), reads, side="right")
        drawn = np.bincount(feature, minlength=len(values))
    return columns[drawn > 0], drawn[drawn > 0]


def _report_shallow(table, shallow, depth, kept):
    if not len(shallow):
        return
    names = ", ".join(table.sample_ids[i] for i in shallow[:10])
    more = f" and {len(shallow) - 10} more" if len(shallow) > 10 else ""
    what = "used as they are" if kept and depth else "left out"
    log.warning(
        "%d of %d samples have fewer than %d reads and are %s: %s%s.",
        len(shallow), table.n_samples, max(depth, 1), what, names, more,
    )  # fmt: skip
