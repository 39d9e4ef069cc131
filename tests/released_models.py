"""Models of every format version that was released, and what they predicted when they were made.

Run as a program, it makes those of the present version, of simulated data and from a fixed seed:

    python tests/released_models.py

Models of a version that was released are never made again: whoever changes the format raises
FORMAT_VERSION, says in MIGRATIONS how to read the version before, and runs this once.
"""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import biom
import numpy as np
import pandas as pd

from q2_aam.core import api
from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.data.simulate import SimulationConfig, simulate

FIXTURES = Path(__file__).parent / "fixtures" / "models"
TABLE = "table.tsv"
PREDICTIONS = "predictions.tsv"
N_TABLE = 6
"""Samples to predict for, which no model was trained on."""

OPTIONS = {
    "embedding_dim": 8,
    "attention_heads": 2,
    "attention_layers": 1,
    "max_bp": 40,
    "epochs": 3,
    "rarefy_depth": 100,
    "lr": 1e-3,
    "batch_size": 8,
    "device": "cpu",
}
EVENT_NAME = "events.out.tfevents.1700000000.host.1.0"


@dataclass(frozen=True)
class Released:
    """A model of one version, beside what it predicted.

    Parameters
    ----------
    folder : Path
        Of a format version, with the table that predictions are for.
    name : str
        What the model is, such as 'regressor'.
    """

    folder: Path
    name: str

    @property
    def directory(self) -> Path:
        """Where the model is."""
        return self.folder / self.name / "model"

    @property
    def table(self) -> biom.Table:
        """The samples that predictions are for."""
        counts = pd.read_csv(self.folder / TABLE, sep="\t", index_col=0, dtype={0: str})
        return biom.Table(counts.to_numpy(float), list(counts.index), list(counts.columns))

    @property
    def predictions(self) -> pd.DataFrame:
        """What the model predicted when it was made."""
        path = self.folder / self.name / PREDICTIONS
        return pd.read_csv(path, sep="\t", index_col=0, float_precision="round_trip")

    def predict(self) -> pd.DataFrame:
        """Predict with the model as it loads now, one row a sample."""
        model = storage.load(self.directory)
        return PREDICT[self.name.split("-")[0]](self.table, model)


def _numbers(table, model) -> pd.DataFrame:
    found = api.predict_regression(table, model, device="cpu").to_frame()
    if model.spec.quantiles:
        found = found.join(api.predict_quantiles(table, model, device="cpu"))
    return found


def _positions(table, model) -> pd.DataFrame:
    embeddings, distances = api.embed(table, model, device="cpu")
    return embeddings.assign(distance=distances.data[0])


PREDICT = {
    "encoder": _positions,
    "regressor": _numbers,
    "classifier": lambda table, model: api.predict_classification(table, model, device="cpu")[1],
}


def released() -> list[Released]:
    """List the models of all versions."""
    places = sorted(path.parent for path in FIXTURES.glob("format-*/*/model"))
    return [Released(place.parent, place.name) for place in places]


def make(folder: Path) -> None:
    """Make the models of the present version, and what they predict."""
    data = simulate(SimulationConfig(n_samples=40, n_features=50, n_bp=40, depth=200, seed=8))
    ids, folder = list(data.table.ids()), Path(folder)
    tree = folder / "tree.nwk"
    folder.mkdir(parents=True)
    tree.write_text(data.newick)
    training = data.table.filter(ids[N_TABLE:], inplace=False)
    age, site = data.metadata["age"], data.metadata["site"]
    encoder = api.pretrain(training, tree, **OPTIONS)
    tree.unlink()
    counts = data.table.filter(ids[:N_TABLE], inplace=False).to_dataframe(dense=True)
    counts.astype(np.int64).to_csv(folder / TABLE, sep="\t")
    start = {"encoder": encoder, **OPTIONS}
    models = {
        "encoder": encoder,
        "regressor": api.train_regressor(training, age, **start),
        "regressor-log": api.train_regressor(
            training, age, target_transform="log-zscore", stored_samples=0, **OPTIONS
        ),
        "regressor-quantiles": api.train_regressor(training, age, loss_type="quantile", **start),
        "classifier": api.train_classifier(training, site, **start),
    }
    for name, model in models.items():
        made = Released(folder, name)
        storage.save(replace(model, event_files={EVENT_NAME: b""}), made.directory)
        made.predict().to_csv(folder / name / PREDICTIONS, sep="\t")


if __name__ == "__main__":
    place = FIXTURES / f"format-{model_directory.FORMAT_VERSION}"
    if place.exists() and sys.argv[1:] != ["--again"]:
        sys.exit(
            f"{place} is there; --again makes it anew, which is for a version not yet released"
        )
    shutil.rmtree(place, ignore_errors=True)
    make(place)
