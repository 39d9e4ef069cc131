"""A hundred thousand samples on one machine: what each stage takes, in time and in memory.

Simulated samples over as many ASVs go through the actions as a user runs them: import, one epoch
of pre-training, training with the encoder frozen, and prediction of all samples. The model is
tiny, so what grows with the samples shows. Each stage is a process of its own.
"""

import tempfile
from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from benchmarks._child import in_child
from benchmarks._phylogenies import random_newick
from benchmarks._report import parser, report

TINY = {
    "embedding_dim": 16,
    "attention_heads": 2,
    "attention_layers": 1,
    "rarefy_depth": 500,
    "batch_size": 128,
    "epochs": 1,
}
RICHNESS, CLUSTERS = 50, 200


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.keep_in) as place:
        rows = []
        for stage in (_simulate, _import, _pretrain, _train, _predict):
            told, seconds, memory = in_child(
                stage, Path(place), args.samples, args.asvs, args.seed
            )
            row = {"stage": stage.__name__.strip("_"), "seconds": seconds}
            rows.append(row | {"peak memory, GiB": memory, "of it": told})
            print(rows[-1], flush=True)
    report("large-study", rows, args.json, samples=args.samples, asvs=args.asvs)


def _simulate(place: Path, n_samples: int, n_asvs: int, seed: int) -> str:
    """Write a table, a tree and metadata; a sample has most of its ASVs from its cluster's."""
    rng = np.random.default_rng(seed)
    bases = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (n_asvs, 100))]
    names = [row.tobytes().decode() for row in bases]
    cluster = rng.integers(0, CLUSTERS, n_samples)
    first = (cluster * (n_asvs // CLUSTERS))[:, None]
    own = first + rng.integers(0, 2 * n_asvs // CLUSTERS, (n_samples, RICHNESS))
    asv = np.where(rng.random(own.shape) < 0.9, own % n_asvs, rng.integers(0, n_asvs, own.shape))
    row = np.repeat(np.arange(n_samples), RICHNESS)
    reads = 8 + rng.geometric(0.1, row.shape)
    counts = csr_matrix((reads.astype(float), (asv.ravel(), row)), (n_asvs, n_samples))
    table = biom.Table(counts, names, [f"sample{i:06d}" for i in range(n_samples)])
    with h5py.File(place / "table.biom", "w") as file:
        table.to_hdf5(file, "q2-aam")
    (place / "tree.nwk").write_text(random_newick(rng, names))
    age = pd.Series(cluster % 80 + rng.normal(0, 5, n_samples), table.ids(), name="age")
    age.rename_axis("sample-id").to_csv(place / "metadata.tsv", sep="\t")
    return f"{counts.nnz} entries"


def _import(place: Path, *_) -> str:
    from qiime2 import Artifact

    Artifact.import_data(
        "FeatureTable[Frequency]", str(place / "table.biom"), "BIOMV210Format"
    ).save(str(place / "table.qza"))
    Artifact.import_data("Phylogeny[Rooted]", str(place / "tree.nwk")).save(
        str(place / "tree.qza")
    )
    return ""


def _pretrain(place: Path, *_) -> str:
    from qiime2 import Artifact
    from qiime2.plugins import aam

    table, tree = (Artifact.load(str(place / f"{name}.qza")) for name in ("table", "tree"))
    (encoder,) = aam.methods.pretrain(table, tree, **TINY)
    encoder.save(str(place / "encoder.qza"))
    return _epoch(encoder)


def _train(place: Path, *_) -> str:
    from qiime2 import Artifact, Metadata
    from qiime2.plugins import aam

    table, encoder = (Artifact.load(str(place / f"{n}.qza")) for n in ("table", "encoder"))
    age = Metadata.load(str(place / "metadata.tsv")).get_column("age")
    (regressor,) = aam.methods.train_regressor(
        table, age, encoder=encoder, freeze_base=True, **TINY
    )
    regressor.save(str(place / "regressor.qza"))
    return _epoch(regressor)


def _predict(place: Path, *_) -> str:
    from qiime2 import Artifact
    from qiime2.plugins import aam

    table, regressor = (Artifact.load(str(place / f"{n}.qza")) for n in ("table", "regressor"))
    (predictions,) = aam.methods.predict_regression(table, regressor)
    return f"{len(predictions.view(pd.Series))} predictions"


def _epoch(model) -> str:
    from qiime2 import Metadata

    seconds = model.view(Metadata).to_dataframe()["seconds"].sum()
    return f"the epoch, validation included: {seconds:.0f} s"


def _parser():
    made = parser(__doc__)
    made.add_argument("--samples", type=int, default=100_000)
    made.add_argument("--asvs", type=int, default=100_000)
    made.add_argument("--keep-in", metavar="DIRECTORY", help="where the files lie meanwhile")
    return made


if __name__ == "__main__":
    main()
