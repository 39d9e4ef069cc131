"""Spoil model directories, guided by coverage, and see that each is refused or loads as it was.

Called by script/fuzz-artifact; libFuzzer's own options may follow.
"""

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

with atheris.instrument_imports(
    include=[
        "q2_aam.core.artifact.model_directory",
        "q2_aam.core.artifact.history_file",
        "q2_aam.core.artifact.samples_file",
        "q2_aam.core.options.option",
        "q2_aam.core.model.specification",
        "q2_aam.core.options.strict_json",
        "q2_aam.core.data.target",
        "q2_aam.core.artifact.weights_file",
    ]
):
    from model_files import (
        differences,
        load_or_refuse,
        read_files,
        sign,
        small_model,
        write_files,
    )

    from q2_aam.core.artifact import storage
    from q2_aam.core.model.specification import KINDS

FILES = ("config.json", "weights.safetensors", "history.tsv", "samples.tsv")
TOLD_EVERY = 1000


def originals(root: Path):
    """Save a model of each kind; return their files and what loads from them."""
    made = []
    for kind in KINDS:
        storage.save(small_model(kind), root / kind)
        made.append((read_files(root / kind), storage.load(root / kind)))
    return made


def spoil(files: dict[str, bytes], source: atheris.FuzzedDataProvider) -> dict[str, bytes]:
    """Replace stretches of one or two files by bytes of the fuzzer's choice."""
    files = dict(files)
    for _ in range(source.ConsumeIntInRange(1, 2)):
        name = FILES[source.ConsumeIntInRange(0, len(FILES) - 1)]
        data = files[name]
        # The headers are in the first bytes, so these are tried as often as all the others.
        at = source.ConsumeIntInRange(0, min(len(data), (300, len(data))[source.ConsumeBool()]))
        put = source.ConsumeBytes(source.ConsumeIntInRange(0, 60))
        gone = source.ConsumeIntInRange(int(not put), (20, len(data))[source.ConsumeBool()])
        files[name] = data[:at] + put + data[at + gone :]
    return files


class Fuzzer:
    """What happens to one input after another.

    Parameters
    ----------
    root : Path
        A directory for models, whole and spoilt.
    """

    def __init__(self, root: Path):
        self.models = originals(root)
        self.place = root / "spoilt"
        self.counts = dict.fromkeys(("refused", "the same", "signed and loaded"), 0)
        self.slowest = 0.0

    def __call__(self, data: bytes):
        """Spoil a model as the bytes say, and see what comes of it."""
        source = atheris.FuzzedDataProvider(data)
        files, original = self.models[source.ConsumeIntInRange(0, len(self.models) - 1)]
        signed = source.ConsumeBool()
        shutil.rmtree(self.place, ignore_errors=True)
        write_files(spoil(files, source), self.place)
        if signed:
            sign(self.place)
        started = time.process_time()
        loaded = load_or_refuse(self.place)
        self.slowest = max(self.slowest, time.process_time() - started)
        if loaded is not None and not signed and differences(loaded, original):
            changed = ", ".join(differences(loaded, original))
            raise RuntimeError(f"a damaged model was accepted with other {changed}")
        self.count("refused" if loaded is None else ("the same", "signed and loaded")[signed])

    def count(self, outcome: str) -> None:
        """Count an outcome, and tell now and then: the fuzzer ends without a last word."""
        self.counts[outcome] += 1
        if sum(self.counts.values()) % TOLD_EVERY == 0:
            mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"q2-aam: {self.counts}, the slowest in {self.slowest:.2f} s, {mib:.0f} MiB",
                file=sys.stderr,
                flush=True,
            )


def main():
    """Run the fuzzer until its time is over or something fails."""
    atheris.Setup(sys.argv, Fuzzer(Path(tempfile.mkdtemp())))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
