"""Models at their default size whose answers do not matter, made in no time, to measure speed."""

import biom
import numpy as np
import torch

from benchmarks.data import DataSet
from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import ENCODER, ModelSpec, Reads
from q2_aam.core.model.trained_model import TrainedModel
from q2_aam.core.options.config import Settings
from q2_aam.core.training.preparation.run_settings import MOST_READS


def untrained_encoder(seed: int, **options) -> TrainedModel:
    """Return an encoder with random weights; its speed is that of a trained one."""
    settings = Settings.from_options({"rarefy_depth": MOST_READS} | options)
    torch.manual_seed(seed)
    spec = ModelSpec.of(ENCODER, settings, Reads(2, 2, 100, 150))
    return TrainedModel(spec, build(spec).state_dict(), api.pd.DataFrame())


def shipped_encoder(directory=None) -> TrainedModel:
    """Return the encoder that ships, or the model of a directory instead."""
    return encoder.load() if directory is None else storage.load(directory)


def quick_regressor(data_set: DataSet, column: str, seed: int) -> TrainedModel:
    """Train one short epoch on a few samples, and keep all samples to compare others with."""
    values = data_set.column(column)
    return api.train_regressor(
        data_set.samples(values.index),
        values,
        sequences=data_set.sequences,
        encoder=untrained_encoder(seed),
        freeze_base=True,
        epochs=1,
        batch_size=256,
        rarefy_depth=0,
        test_size=0.5,
        random_seed=seed,
    )


def repeated(table: biom.Table, n: int) -> biom.Table:
    """Repeat the samples of a table, under new ids, until there are n of them."""
    rows = np.arange(n) % table.shape[1]
    ids = [f"sample{i}" for i in range(n)]
    return biom.Table(table.matrix_data.tocsc()[:, rows], table.ids("observation"), ids)
