"""One rank: a process that trains its part of a job, started by `launch`."""

import argparse
import faulthandler
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from threadpoolctl import threadpool_limits

from q2_aam.core.data import messages, progress
from q2_aam.core.model.predictor import build, save_memory
from q2_aam.core.model.stored_samples.similarity import Vocabulary
from q2_aam.core.training.devices import compiled, device_of_run
from q2_aam.core.training.loop.fit import Placement, fit
from q2_aam.core.training.ranks import job, meeting
from q2_aam.core.training.ranks.comparison import divided
from q2_aam.core.training.ranks.rank_module import PartData, RankModule
from q2_aam.core.training.ranks.stopping import CommonInterruption, listen
from q2_aam.core.training.run import METRICS

log = logging.getLogger(__name__)

LOOKS = 0.5
"""Seconds between looks at whether the process that started this one is still there."""
OTHERS_LOST = re.compile(
    "gloo|nccl|connection|process group|tcpstore|timed out|timeout|pair closure|socket", re.I
)
"""What PyTorch says where another rank is gone."""


def main(arguments=None) -> None:
    """Run the command: train, and leave what became of it in the directory of the job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--shown", action="store_true")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--address", help="of this host, where there are several")
    args = parser.parse_args(arguments)
    rank = int(os.environ["RANK"])
    shown = args.shown and os.environ["LOCAL_RANK"] == "0"
    threading.Thread(target=_end_with, args=(args.parent,), daemon=True).start()
    _log_to(args.directory / f"rank-{rank}.log", shown)
    log.info("Rank %d is process %d on %s.", rank, os.getpid(), socket.gethostname())
    _choose_interface(args.address)
    # Beside the main thread, as Lightning's handlers of signals have ranks wait for each other.
    listen()
    work = threading.Thread(target=_work, args=(args.directory, rank, shown, args.threads))
    work.start()
    work.join()


def _work(directory: Path, rank: int, shown: bool, threads: int) -> None:
    """Train, and leave what became of it in the directory of the job."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    try:
        train(directory, shown)
    except SystemExit:
        (directory / job.STOPPED).touch()
    except BaseException as error:
        said = told(error)
        with suppress(OSError):  # where there is no room, the exit code has to tell
            job.write_json(directory / f"failure-{rank}.json", said)
            log.error("%s", traceback.format_exc())
            sys.stderr.flush()
        # To leave in an orderly way would wait for the other ranks.
        os._exit(job.NO_ROOM if said["kind"] == "room" else 1)


def told(error: BaseException) -> dict:
    """Say in plain data why a rank failed: its kind is 'room', 'said', 'lost' or 'other'."""
    text = str(error)
    if isinstance(error, ValueError):
        return {"kind": "said", "message": text}
    if isinstance(error, OSError) and error.errno is not None:
        place = None if error.filename is None else str(error.filename)
        return {"kind": "room", "errno": error.errno, "message": error.strerror, "place": place}
    lost = isinstance(error, RuntimeError) and OTHERS_LOST.search(text)
    first = (text.splitlines() or [""])[0]
    said = f"{type(error).__name__}: {first}".rstrip(": ")
    return {"kind": "lost" if lost else "other", "message": said}


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone; then nobody waits for the model."""
    while os.getppid() == parent:
        time.sleep(LOOKS)
    os.kill(os.getpid(), signal.SIGKILL)


def _choose_interface(address: str | None) -> None:
    """Have ranks talk over the network that hosts meet in; a host's name may lead astray."""
    several = address is not None
    variables = ["GLOO_SOCKET_IFNAME", *["NCCL_SOCKET_IFNAME"] * several]
    name = meeting.interface_of(address or "127.0.0.1")
    for variable in variables:
        if name is not None:
            os.environ.setdefault(variable, name)


def _log_to(path: Path, shown: bool) -> None:
    """Keep what is said in a file; one rank also says it to the user."""
    file = path.open("a", buffering=1)
    faulthandler.enable(file)
    if not shown:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger(messages.LOGGER).setLevel(logging.INFO)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


class _Say(logging.Handler):
    """Says messages on the standard error stream, as actions do."""

    def emit(self, record):
        progress.say(self.format(record))


def _say_from(level: int) -> None:
    handler = _Say(level)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger(messages.LOGGER).addHandler(handler)


def train(directory: Path, shown: bool) -> None:
    """Train a job as one rank; the first rank leaves the model in its directory."""
    made = job.read(directory)
    plan, on_gpu = made.plan, made.plan["device"] == "cuda"
    if shown:
        _say_from(plan["level"])
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    placement = Placement(
        data=PartData,
        interruption=CommonInterruption,
        writes=os.environ["RANK"] == "0",
        devices=list(range(plan["on_host"])) if on_gpu else plan["on_host"],
        n_hosts=plan["hosts"],
        strategy=DDPStrategy(
            process_group_backend="nccl" if on_gpu else "gloo",
            timeout=timedelta(seconds=plan["wait"]),
            find_unused_parameters=True,  # a rank may have no sample of a term of the loss
            broadcast_buffers=False,
        ),
        plugins=(TorchElasticEnvironment(),),
    )
    show, config = shown and plan["progress"], made.settings.training
    found = replace(config, device=plan["device"])  # a GPU that cannot be used is told of once
    with device_of_run(found), progress.shown(show):
        model = build(made.spec)
        if made.data.with_vectors is not None:
            model.vocabulary = Vocabulary(made.data.with_vectors)
        model.load_state_dict(job.start_weights(directory))
        save_memory(model, config)
        with compiled(model, config):
            result = fit(
                _module(model, made), made.settings, directory.parent,
                bar_name=plan["bar_name"], progress=show, placement=placement,
            )  # fmt: skip
    if placement.writes:
        job.leave_result(directory, model.state_dict(), result.history)


def _module(model, made: job.Job) -> RankModule:
    spec, references, comparison = made.spec, made.data.references, None
    if made.variance is not None:
        n = None if references is None else len(references.rows)
        comparison = divided(spec.unifrac.metric, n, spec.model.embedding_dim)
    return RankModule(
        model,
        made.objective,
        spec.training,
        made.data,
        comparison=comparison,
        metrics=METRICS[spec.kind](spec.target) if spec.target else None,
        freeze_base=spec.target is not None and spec.fine_tuning.freeze_base,
    )


if __name__ == "__main__":
    main()
