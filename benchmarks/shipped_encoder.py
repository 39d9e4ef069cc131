"""How well the encoder that ships knows samples of studies that it was not trained on.

The studies are those that the corpus holds out, and the oral samples. The encoder predicts the
UniFrac distances of all pairs of samples, and nucleotides masked in their ASVs, as in
`benchmarks.quality`; it is not trained further. Beside it stands an encoder of the study itself: a
fifth of the samples is held out (of the oral samples, fold0), it is pre-trained on the others with
the defaults, and both encoders predict the same reads of the held-out samples.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import data
from benchmarks._models import shipped_encoder
from benchmarks._report import parser, report
from benchmarks.quality import scores_of
from q2_aam.core import api
from q2_aam.core.data.rarefaction import suitable_depth
from q2_aam.core.data.sample_table import sample_table

ORAL, FOLD = "oral-age", "fold0"
STUDIES = ("daycare", "PRJNA412105", "PRJNA720045", ORAL)
SHIPPED, OWN = "that ships", "of the study"
MOST_READS = 1000


@dataclass(frozen=True)
class Study:
    """A study that the encoder was not trained on, and its samples to score both encoders on."""

    name: str
    data_set: data.DataSet
    held_out: list[str]

    @property
    def depth(self) -> int:
        """Reads to draw of each sample."""
        depths = np.asarray(self.data_set.table.sum("sample"))
        return min(MOST_READS, suitable_depth(depths))


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    shipped = shipped_encoder(args.encoder)
    rows = []
    for study in _studies(args.studies, args.seed):
        for row in _rows(study, shipped, args):
            rows.append(row)
            print(*row.values(), sep="  ", flush=True)
    options = {"encoder": args.encoder or SHIPPED, "seed": args.seed}
    report("shipped-encoder", rows, args.json, options=options)


def _studies(names, seed):
    """Read studies, the corpus only if one of them is in it."""
    if set(names) != {ORAL}:
        corpus = data.read(data.SHARED_DATA / "corpus")
        of_study = corpus.metadata["study"].where(corpus.metadata["holdout"] == "yes")
    for name in names:
        if name == ORAL:
            data_set = data.read(data.SHARED_DATA / ORAL)
            held_out = data_set.in_fold(FOLD)
        else:
            ids = [sample for sample in corpus.table.ids() if of_study[sample] == name]
            table = corpus.table.filter(ids, inplace=False)
            data_set = replace(corpus, table=table.remove_empty("observation", inplace=False))
            order = np.random.default_rng(seed).permutation(ids)
            held_out = [str(sample) for sample in order[: round(len(ids) / 5)]]
        yield Study(name, data_set, held_out)


def _rows(study, shipped, args):
    """Score the encoder on all samples, then both encoders on those that are held out."""
    everything = [str(name) for name in study.data_set.table.ids()]
    yield _row(study, SHIPPED, shipped, everything, args.seed)
    if not args.own:
        return
    known = sorted(set(everything) - set(study.held_out))
    start = time.perf_counter()
    own = api.pretrain(
        study.data_set.samples(known),
        study.data_set.tree,
        sequences=study.data_set.sequences,
        test_size=0.1,
        rarefy_depth=study.depth,
        random_seed=args.seed,
        monitor=api.Monitor(progress=args.progress),
    )
    minutes = (time.perf_counter() - start) / 60
    yield _row(study, SHIPPED, shipped, study.held_out, args.seed)
    yield _row(study, OWN, own, study.held_out, args.seed) | {"minutes of pre-training": minutes}


def _row(study, name, model, ids, seed) -> dict:
    table = sample_table(study.data_set.samples(ids), None, model.spec.model.max_bp)
    scores = scores_of(model, table, study.data_set.tree, seed, study.depth)
    return {
        "study": study.name,
        "encoder": name,
        "samples": len(ids),
        "reads": study.depth,
        "UniFrac R2": scores.unifrac,
        "squared correlation": scores.correlation,
        "masked-nucleotide accuracy": scores.restored,
        "minutes of pre-training": 0.0,
    }


def _parser():
    made = parser(__doc__)
    made.add_argument("--encoder", metavar="DIRECTORY", help="this one, not the one that ships")
    made.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES)
    made.add_argument(
        "--without-own", dest="own", action="store_false", help="pre-train nothing (minutes)"
    )
    made.add_argument("--progress", action="store_true")
    return made


if __name__ == "__main__":
    main()
