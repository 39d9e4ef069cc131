"""How fast training on a metadata column is, with a frozen encoder and with one that learns.

The public API trains for a few epochs without validation; each epoch's time is the history's. The
first epoch of a frozen encoder also encodes every ASV once; the others only use the result.
"""

import numpy as np
from pandas.api.types import is_numeric_dtype

from benchmarks import data
from benchmarks._models import untrained_encoder
from benchmarks._report import parser, report
from q2_aam.core import api


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    data_set = data.read(args.data)
    values = data_set.column(args.target)
    rows = []
    for how, n in ("frozen", args.samples), ("joint", min(args.samples, args.joint_samples)):
        chosen = values.iloc[np.random.default_rng(args.seed).permutation(len(values))[:n]]
        seconds = _seconds(data_set, chosen, how == "frozen", args)
        rows.append(
            {
                "encoder": how,
                "samples": len(chosen),
                "samples/s, first epoch": len(chosen) / seconds[0],
                "samples/s, later epochs": len(chosen) / np.mean(seconds[1:]),
            }
        )
    report("train", rows, args.json, batch_size=args.batch_size, target=args.target)


def _seconds(data_set, values, frozen, args):
    train = api.train_regressor if is_numeric_dtype(values) else api.train_classifier
    model = train(
        data_set.samples(values.index),
        values,
        sequences=data_set.sequences,
        encoder=untrained_encoder(args.seed),
        freeze_base=frozen,
        epochs=args.epochs if frozen else 2,
        batch_size=args.batch_size,
        rarefy_depth=0,
        test_size=0.0,
        random_seed=args.seed,
    )
    return model.history["seconds"].to_numpy()


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--target", default="age")
    made.add_argument("--samples", type=int, default=1500)
    made.add_argument("--joint-samples", type=int, default=192, help="at most, if it learns")
    made.add_argument("--epochs", type=int, default=3, help="of the frozen encoder")
    made.add_argument("--batch-size", type=int, default=32)
    return made


if __name__ == "__main__":
    main()
