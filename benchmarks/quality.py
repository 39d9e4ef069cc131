"""How well pre-training learns, seen on samples that it has not: UniFrac and nucleotides.

A fold is held out entirely; the encoder is pre-trained on the rest through the public API and
then predicts the UniFrac distances of all pairs of held-out samples, and nucleotides masked in
their ASVs.
"""

import time
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import data
from benchmarks._report import parser, report
from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data import nucleotides
from q2_aam.core.data.mini_batches import mask_nucleotides
from q2_aam.core.data.rarefaction import rarefy
from q2_aam.core.data.sample_table import SampleTable, sample_table
from q2_aam.core.model import inference
from q2_aam.core.model.predictor import build
from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.unifrac import UniFracTargets


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    data_set = data.read(args.data)
    options = {
        name: value for name, value in vars(args).items() if name in OPTIONS and value is not None
    }
    start = time.perf_counter()
    model = api.pretrain(
        data_set.samples(data_set.without_fold(args.fold)),
        data_set.tree,
        sequences=data_set.sequences,
        random_seed=args.seed,
        monitor=api.Monitor(progress=args.progress),
        **options,
    )
    minutes = (time.perf_counter() - start) / 60
    if args.save:
        storage.save(model, args.save)
    rows = [
        {"measure": name, "value": value}
        for name, value in {
            "minutes of pre-training": minutes,
            "epochs": len(model.history),
            **held_out_scores(model, data_set, args.fold, args.seed),
        }.items()
    ]
    report("quality", rows, args.json, options=options)


def held_out_scores(model, data_set, fold: str, seed: int) -> dict[str, float]:
    """Score an encoder on the samples of a fold."""
    spec = model.spec
    sequences = None if data_set.sequences is None else api.read_sequences(data_set.sequences)
    table = sample_table(data_set.samples(data_set.in_fold(fold)), sequences, spec.model.max_bp)
    scores = scores_of(model, table, data_set.tree, seed, spec.data.rarefy_depth)
    return {
        "UniFrac R2, held-out pairs": scores.unifrac,
        "masked-nucleotide accuracy, held-out ASVs": scores.restored,
    }


class EncoderScores(NamedTuple):
    """How well an encoder knows samples.

    Parameters
    ----------
    unifrac : float
        R² of the UniFrac distances of all pairs of samples.
    correlation : float
        Squared correlation of these, for which scale and offset do not matter.
    restored : float
        Share of the masked nucleotides that are restored.
    """

    unifrac: float
    correlation: float
    restored: float


def scores_of(model, table: SampleTable, tree, seed: int, depth: int) -> EncoderScores:
    """Score an encoder on samples.

    Parameters
    ----------
    model : TrainedModel
    table : SampleTable
        Its sequences have at most as many nucleotides as the encoder reads.
    tree : path
        Phylogeny of the features, and perhaps of others.
    seed : int
        Of the reads that are drawn, and of the nucleotides that are masked.
    depth : int
        Reads to draw of each sample; 0 keeps all. Samples with fewer are used as they are.
    """
    spec = model.spec
    table = rarefy(table, depth, seed, keep_shallow=True)
    module = build(spec)
    module.load_state_dict(model.weights)
    module.eval()
    embedding = inference.embed(module, table, spec.data)
    with torch.no_grad():
        predicted = module.distance(embedding, embedding).numpy()
    branches = BranchTable.from_newick(tree, table.feature_ids, prune=True)
    true = UniFracTargets(branches, spec.unifrac.metric)(table.counts)
    pairs = np.triu_indices(len(true), 1)
    true, predicted = true[pairs], predicted[pairs]
    correlation = float(np.corrcoef(true, predicted)[0, 1] ** 2)
    restored = _restored(module, table, spec.data, seed)
    return EncoderScores(_r2(true, predicted), correlation, restored)


def _restored(module, table, config, seed) -> float:
    """Mask every held-out ASV once, a quarter at a time as training does."""
    rng, hits = np.random.default_rng(seed), []
    order = rng.permutation(len(table.tokens))
    for rows in np.array_split(order, -(-len(order) // 256)):
        tokens = table.tokens[rows]
        masks = mask_nucleotides(tokens, config, rng)
        copies = torch.from_numpy(tokens[masks["masked_of"].numpy()])
        at = masks["masked_at"]
        with torch.no_grad():
            logits = module.asv_encoder.restore_masked(copies, at)
        hits.append((logits.argmax(dim=1) + nucleotides.FIRST_BASE == copies[at]).float())
    return float(torch.cat(hits).mean())


def _r2(true, predicted) -> float:
    return float(1 - ((true - predicted) ** 2).sum() / ((true - true.mean()) ** 2).sum())


OPTIONS = ("epochs", "batch_size", "lr", "max_grad_norm", "rarefy_depth", "test_size", "patience")


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--fold", default="fold0")
    made.add_argument("--epochs", type=int)
    made.add_argument("--batch-size", type=int)
    made.add_argument("--lr", type=float)
    made.add_argument("--max-grad-norm", type=float)
    made.add_argument("--test-size", type=float)
    made.add_argument("--rarefy-depth", type=int, default=1000)
    made.add_argument("--save", metavar="DIRECTORY", help="keep the encoder here")
    made.add_argument("--progress", action="store_true")
    return made


if __name__ == "__main__":
    main()
