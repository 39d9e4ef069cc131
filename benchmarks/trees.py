"""What the trees of the stored samples take in a whole run of training, in processor time.

A run grows a few trees of each kind first, to decide on their weight, and then all of them on all
samples. The samples are simulated: each has a few hundred of the ASVs, with abundances that a few
of these follow.
"""

import time

import numpy as np
from scipy.sparse import random as random_sparse

from benchmarks._report import parser, report
from q2_aam.core.model.stored_samples.extra_trees import TREES_OF_EACH, grow
from q2_aam.core.training.stored_samples import TRIAL_TREES

SHARE_PRESENT = 0.05
"""Share of the ASVs that a sample has."""


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    rng = np.random.default_rng(args.seed)
    shares = random_sparse(args.samples, args.asvs, SHARE_PRESENT, "csr", random_state=rng)
    shares = shares.multiply(1 / np.maximum(shares.sum(axis=1), 1e-9)).tocsr()
    target = 1000 * shares[:, :5].toarray().sum(axis=1) + rng.normal(size=args.samples)
    roots, held = shares.sqrt(), args.samples // 5
    trial = _seconds(roots[held:], target[held:], TRIAL_TREES, args.seed)
    whole = _seconds(roots, target, TREES_OF_EACH, args.seed)
    rows = [
        {"what": what, "seconds": seconds}
        for what, seconds in {
            f"{TRIAL_TREES} trees of each kind, without the validation samples": trial,
            f"{TREES_OF_EACH} trees of each kind, all samples": whole,
            "a whole run": trial + whole,
        }.items()
    ]
    report("trees", rows, args.json, samples=args.samples, asvs=args.asvs)


def _seconds(roots, target, trees_of_each: int, seed: int) -> float:
    """Grow trees on one processor, and return the time that it was busy."""
    start = time.process_time()
    grow(roots, target, trees_of_each=trees_of_each, seed=seed, threads=1)
    return time.process_time() - start


def _parser():
    made = parser(__doc__)
    made.add_argument("--samples", type=int, default=4000)
    made.add_argument("--asvs", type=int, default=5000)
    return made


if __name__ == "__main__":
    main()
