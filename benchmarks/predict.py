"""How fast prediction is: the model in memory, nothing of the samples encoded yet.

The samples of the data are predicted, then as many more as asked for over the same ASVs: the same
samples again and again under other ids, which the model cannot know.
"""

import time

from benchmarks import data
from benchmarks._models import quick_regressor, repeated
from benchmarks._report import parser, report
from q2_aam.core import api
from q2_aam.core.model import inference


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    data_set = data.read(args.data)
    model = quick_regressor(data_set, args.target, args.seed)
    rows = []
    for n in args.samples:
        table = repeated(data_set.table, n)
        samples = api.samples_for(model, table, data_set.sequences)
        module = api.module_of(model, "cpu")
        start = time.perf_counter()
        inference.encode_asvs(module, samples)
        encoding = time.perf_counter() - start
        start = time.perf_counter()
        api.predict_regression(table, model, sequences=data_set.sequences, device="cpu")
        seconds = time.perf_counter() - start
        rows.append(
            {
                "samples": n,
                "distinct ASVs": len(samples.feature_ids),
                "seconds": seconds,
                "samples/s": n / seconds,
                "of it encoding ASVs, s": encoding,
                "ASVs/s": len(samples.feature_ids) / encoding,
            }
        )
    report("predict", rows, args.json, stored_samples=model.spec.stored.n_samples)


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--target", default="age")
    made.add_argument("--samples", type=int, nargs="+", default=[1500, 10000])
    return made


if __name__ == "__main__":
    main()
