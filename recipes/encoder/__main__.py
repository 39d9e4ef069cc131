"""Train an encoder on a corpus, and put it into the package."""

import argparse
import logging
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

from q2_aam.core.artifact import storage
from q2_aam.core.artifact.shipped import encoder
from recipes.encoder import corpus, training
from recipes.encoder.draws import Augmentation
from recipes.encoder.package import put_into_package, sums_of_corpus

MODEL = "model"


def main(arguments=None) -> None:
    """Run the command."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = {f.name: getattr(args, f.name) for f in fields(training.Plan) if hasattr(args, f.name)}
    augmentation = {f.name: getattr(args, f.name) for f in fields(Augmentation)}
    augmentation["depths"] = tuple(augmentation["depths"])
    plan = replace(training.Plan(**given), augmentation=Augmentation(**augmentation))
    output = Path(args.output)
    read = corpus.read(args.corpus, plan.max_bp, plan.validation, plan.seed)
    model = training.train(read, plan, output / "run")
    hours = float(model.history["seconds"].sum()) / 3600
    logging.info("The training took %.2f hours.", hours)
    if not (output / MODEL).exists():
        storage.save(model, output / MODEL)
    if args.package:
        recipe = {
            "name": encoder.NAME,
            "options": asdict(plan),
            "corpus": sums_of_corpus(args.corpus),
            "held_out": corpus.held_out(args.corpus),
            "hours": round(hours, 2),
        }
        put_into_package(model, read, recipe, encoder.DIRECTORY)


def _parser() -> argparse.ArgumentParser:
    plan, augmentation = training.Plan(), Augmentation()
    parser = argparse.ArgumentParser(
        prog="python -m recipes.encoder",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", required=True, help="folder with table.biom, tree.nwk and metadata.tsv, "
        "which has the columns study, environment and holdout (yes or no)")  # fmt: skip
    add("--output", required=True, help="folder for checkpoints and for the model; the same "
        "command goes on where it was stopped")  # fmt: skip
    add("--package", action="store_true", help="also put the encoder into the package of q2-aam, "
        "with a sketch of the corpus and checksums")  # fmt: skip
    add("--epochs", type=int, default=plan.epochs, help="validation follows each of them")
    add("--steps", type=int, default=plan.steps, help="mini-batches of an epoch")
    add("--batch-size", type=int, default=plan.batch_size, help="samples of a mini-batch")
    add("--max-bp", type=int, default=plan.max_bp, help="nucleotides to read of a sequence")
    add("--lr", type=float, default=plan.lr, help="highest learning rate")
    add("--validation", type=float, default=plan.validation,
        help="share of each study's samples that choose the best epoch")  # fmt: skip
    add("--seed", type=int, default=plan.seed, help="of all random draws")
    add("--device", default=plan.device, choices=("auto", "cpu", "cuda", "mps"),
        help="where to compute")  # fmt: skip
    add("--depths", type=int, nargs=2, default=augmentation.depths, metavar=("LOW", "HIGH"),
        help="reads to draw of a sample, at least and at most")  # fmt: skip
    add("--most-asvs", type=int, default=augmentation.most_asvs,
        help="ASVs of a sample, at most")  # fmt: skip
    add("--shortest", type=int, default=augmentation.shortest,
        help="half of the mini-batches have reads cut to this length or more")  # fmt: skip
    add("--flattened", type=float, default=augmentation.flattened,
        help="share of the mini-batches in which rare features are drawn more often")  # fmt: skip
    add("--home", type=float, default=augmentation.home,
        help="share of a mini-batch's samples that are of one study")  # fmt: skip
    return parser


if __name__ == "__main__":
    main()
