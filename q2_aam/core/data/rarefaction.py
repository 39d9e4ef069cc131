"""Rarefaction: the same number of reads of each sample, drawn without replacement."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from q2_aam.core.data import progress
from q2_aam.core.data.sample_table import SampleTable

log = logging.getLogger(__name__)

MAX_DRAWN_FROM = 10**9
"""Reads below which numpy draws from a multivariate hypergeometric distribution."""

LEFT_OUT = "are left out"

SHARE_KEPT = 0.9
"""Share of the samples that a proposed depth keeps at least."""


def suitable_depth(depths: np.ndarray) -> int:
    """Propose a rarefaction depth: a round number that keeps nine of ten samples with reads.

    Parameters
    ----------
    depths : ndarray of shape (n_samples,)
        Reads of each sample.

    Returns
    -------
    int
        0 if no sample has reads.
    """
    known = np.sort(depths[depths > 0])
    if not len(known):
        return 0
    depth = int(known[int((1 - SHARE_KEPT) * len(known) + 1e-9)])
    step = 10 ** max(len(str(depth)) - 2, 0)
    return depth // step * step


def check_depth(sample_ids: Sequence[str], depths: np.ndarray, depth: int) -> None:
    """Refuse a rarefaction depth that more than half of the samples do not have.

    The parameters are those of `warn_of_shallow`.

    Raises
    ------
    ValueError
        If it is so; the message proposes a depth.
    """
    shallow = np.flatnonzero(depths < depth)
    if not 2 * len(shallow) > len(depths) or len(shallow) == len(depths):
        return
    i = shallow[0]
    raise ValueError(
        f"Rarefaction to {depth} reads would leave out {len(shallow)} of {len(depths)} samples, "
        f"more than half, such as '{sample_ids[i]}' with {int(depths[i])} reads; "
        f"{_way_out(depths)}, or leave them out with shallow_samples 'ignore' "
        "(--p-shallow-samples ignore)."
    )


def _way_out(depths: np.ndarray) -> str:
    proposed = suitable_depth(depths)
    kept, n = int((depths >= proposed).sum()), len(depths)
    return (
        f"choose a smaller rarefy_depth (--p-rarefy-depth {proposed} keeps {kept} of {n} "
        "samples), or 0 for no rarefaction"
    )


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
            f"{table.n_samples} samples has {int(depths.max(initial=0))}; {_way_out(depths)}."
        )
    what = "are used as they are" if keep_shallow and depth else LEFT_OUT
    warn_of_shallow(table.sample_ids, depths, depth, what)
    table = table.take(kept)
    if depth == 0:
        return table
    rows = []
    with progress.part("Rarefying samples", table.n_samples) as done:
        for i in range(table.n_samples):
            shallower = kept[i] in untouched
            rows.append(_row(table, i) if shallower else _draw(table, i, depth, seed))
            done(1)
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
    drawn = draw_reads(values, depth, rng)
    return columns[drawn > 0], drawn[drawn > 0]


def draw_reads(counts: np.ndarray, depth: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``depth`` reads without replacement from those of a sample.

    Parameters
    ----------
    counts : ndarray of shape (n_features,)
        Reads of each feature, at least ``depth`` together.
    depth : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n_features,)
    """
    if counts.sum() < MAX_DRAWN_FROM:
        return rng.multivariate_hypergeometric(counts, depth, method="marginals")
    reads = rng.choice(int(counts.sum()), depth, replace=False, shuffle=False)
    feature = np.searchsorted(np.cumsum(counts), reads, side="right")
    return np.bincount(feature, minlength=len(counts))


def warn_of_shallow(
    sample_ids: Sequence[str], depths: np.ndarray, depth: int, what: str = LEFT_OUT
) -> None:
    """Warn of samples with fewer reads than the rarefaction depth, if there are any.

    Parameters
    ----------
    sample_ids : sequence of str
    depths : ndarray of shape (n_samples,)
        Reads of each sample.
    depth : int
        Reads to draw.
    what : str
        What becomes of such samples.
    """
    least = max(depth, 1)
    shallow = [name for name, reads in zip(sample_ids, depths, strict=True) if reads < least]
    if not shallow:
        return
    names = ", ".join(shallow[:10])
    more = f" and {len(shallow) - 10} more" if len(shallow) > 10 else ""
    proposed = suitable_depth(depths)
    kept, advice = int((depths >= proposed).sum()), ""
    if LEFT_OUT in what and 0 < proposed < depth:
        advice = f" A rarefy_depth of {proposed} would keep {kept} samples."
    log.warning(
        "%d of %d samples have fewer than %d reads and %s: %s%s.%s",
        len(shallow), len(depths), least, what, names, more, advice, extra={"kind": what},
    )  # fmt: skip
