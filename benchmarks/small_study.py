"""A small study of rich samples, from end to end at the defaults: time and memory of each stage.

A hundred gut samples with hundreds of ASVs each, drawn from one study of the corpus: three epochs
of pre-training, then training and prediction of a numeric column with every default. The column is
made up (the logarithm of a sample's richness), as only the cost counts here. Each stage is a
process of its own.
"""

import tempfile
from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd

from benchmarks import data
from benchmarks._child import in_child
from benchmarks._report import parser, report
from q2_aam.core import api

CORPUS = data.SHARED_DATA / "corpus"


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        richness = _draw(args.study, args.samples, args.seed, place / "table.biom")
        rows = []
        stages = {"pre-training": _pretrain, "training": _train, "prediction": _predict}
        for name, stage in stages.items():
            told, seconds, memory = in_child(stage, place, args.epochs)
            rows.append({"stage": name, "seconds": seconds, "peak memory, GiB": memory} | told)
            print(rows[-1], flush=True)
        total = sum(row["seconds"] for row in rows)
        most = max(row["peak memory, GiB"] for row in rows)
        rows.append({"stage": "all", "seconds": total, "peak memory, GiB": most})
    report("small-study", rows, args.json, study=args.study, median_richness=richness)


def _draw(study: str, n: int, seed: int, path: Path) -> float:
    """Write a table of samples of a study, and return their median richness."""
    table = biom.load_table(str(CORPUS / "table.biom"))
    metadata = pd.read_csv(CORPUS / "metadata.tsv", sep="\t", dtype=str, index_col=0)
    ids = [name for name in table.ids() if metadata["study"].get(name) == study]
    chosen = np.array(ids)[np.sort(np.random.default_rng(seed).permutation(len(ids))[:n])]
    table.filter(set(chosen), inplace=True)
    table.remove_empty(axis="observation")
    with h5py.File(path, "w") as file:
        table.to_hdf5(file, "q2-aam")
    return float(np.median(np.diff(table.matrix_data.tocsc().indptr)))


def _pretrain(place: Path, epochs: int) -> dict:
    table = biom.load_table(str(place / "table.biom"))
    encoder = api.pretrain(table, CORPUS / "tree.nwk", epochs=epochs)
    api.save(encoder, place / "encoder")
    return _speed(encoder)


def _train(place: Path, epochs: int) -> dict:
    table = biom.load_table(str(place / "table.biom"))
    richness = np.diff(table.matrix_data.tocsc().indptr)
    values = pd.Series(np.log(richness), table.ids(), name="log richness")
    model = api.train_regressor(table, values, encoder=api.load(place / "encoder"))
    api.save(model, place / "model")
    return _speed(model)


def _predict(place: Path, epochs: int) -> dict:
    table = biom.load_table(str(place / "table.biom"))
    api.predict_regression(table, api.load(place / "model"))
    return {}


def _speed(model) -> dict:
    samples = model.spec.reads.n_samples * len(model.history)
    return {"samples/s in the loop": samples / model.history["seconds"].sum()}


def _parser():
    made = parser(__doc__)
    made.add_argument("--study", default="2014")
    made.add_argument("--samples", type=int, default=100)
    made.add_argument("--epochs", type=int, default=3, help="of pre-training")
    return made


if __name__ == "__main__":
    main()
