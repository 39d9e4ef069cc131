"""Starts the ranks of a run, waits for them, and says in a sentence why one of them failed."""

import errno
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError, RendezvousTimeoutError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import q2_aam
from q2_aam.core.data import messages
from q2_aam.core.data.temporary_files import temporary_directory
from q2_aam.core.options.config import TrainConfig
from q2_aam.core.training.devices import choose_device
from q2_aam.core.training.loop.fit import FitResult, event_files
from q2_aam.core.training.preparation.prepared_run import PreparedRun
from q2_aam.core.training.ranks import job, meeting
from q2_aam.core.training.ranks.layout import DEVICES, Layout

log = logging.getLogger(__name__)

COMMAND = """
import os, sys
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
sys.path[:] = {path!r}
from q2_aam.core.training.ranks.rank import main
main()
"""
"""What a rank runs; it finds the same modules as this process."""
ELASTIC = "torch.distributed.elastic"
PLACE = "ranks"
"""Where the job is in the directory of a run."""
GRACE = 60
"""Seconds that ranks have to end a step and to write where they are, when they are to stop."""
LONGEST_WAIT = 1800
"""Seconds that a rank waits for another one at most."""
UNTIL_SEEN = 30
"""Seconds in which a file that another host has written is seen here."""
LAST_LINES = 5


@dataclass(frozen=True)
class Ranks:
    """The ranks of one run.

    Parameters
    ----------
    on_host : int
        On each host.
    device : {'cpu', 'cuda', 'mps'}
    layout : Layout
    """

    on_host: int
    device: str
    layout: Layout

    @property
    def n(self) -> int:
        """All of them."""
        return self.on_host * self.layout.hosts

    @property
    def threads(self) -> int:
        """Threads of each, from 1."""
        return max(1, torch.get_num_threads() // self.on_host)


def ranks_of_run(layout: Layout, config: TrainConfig) -> Ranks:
    """Decide how many ranks a run has; say what was found and what is used.

    Raises
    ------
    ValueError
        If more GPUs are asked for than there are, or several devices beside an Apple GPU.
    """
    device = choose_device(config.device).type
    if device == "mps":
        if (layout.devices or 1) * layout.hosts > 1:
            raise ValueError(
                "An Apple GPU trains alone: unset Q2_AAM_DEVICES and Q2_AAM_HOSTS, or choose "
                "device 'cpu'."
            )
        return Ranks(1, device, layout)
    if device == "cpu":
        ranks = Ranks(layout.devices or 1, device, layout)
        if ranks.n > 1:
            log.info(
                "Processor threads found: %d. Processes: %d%s, of %d threads each.",
                torch.get_num_threads(), ranks.on_host, _where(layout), ranks.threads,
            )  # fmt: skip
        return ranks
    found = torch.cuda.device_count()
    if layout.devices is not None and layout.devices > found:
        raise ValueError(
            f"{DEVICES} is {layout.devices}, but this process sees {found} "
            f"{'GPU' if found == 1 else 'GPUs'}; give a number up to {found}, or unset it."
        )
    n = layout.devices or max(1, min(found, config.batch_size // layout.hosts))
    ranks = Ranks(n, device, layout)
    name = torch.cuda.get_device_name()
    log.info("GPUs found: %d (%s). GPUs used: %d%s.", found, name, n, _where(layout))
    return ranks


def _where(layout: Layout) -> str:
    return "" if layout.hosts == 1 else f" on each of {layout.hosts} hosts"


def fit_in_ranks(
    model: nn.Module,
    run: PreparedRun,
    ranks: Ranks,
    run_dir: Path | None,
    *,
    bar_name: str | None,
    progress: bool,
) -> FitResult:
    """Train a model as `fit` does, by several ranks; leave it with the weights of the best epoch.

    Parameters
    ----------
    model : nn.Module
        With the weights to begin with.
    run : PreparedRun
    ranks : Ranks
    run_dir, bar_name, progress
        As for `fit`.

    Raises
    ------
    ValueError
        If a rank fails; the message has what it said last.
    SystemExit, KeyboardInterrupt
        If the ranks were asked to stop, and did.
    """
    with ExitStack() as stack:
        if run_dir is None:
            run_dir = stack.enter_context(temporary_directory())
        run_dir = Path(run_dir).resolve()
        directory = run_dir / PLACE
        shutil.rmtree(directory, ignore_errors=True)  # of a run that was killed
        directory.mkdir(parents=True)
        stack.callback(_tidy, directory)
        plan = {
            "run_id": f"{run_dir.name}-{uuid.uuid4().hex[:8]}",
            "version": q2_aam.__version__,
            "bar_name": bar_name,
            "progress": progress,
            "level": logging.getLogger(messages.LOGGER).getEffectiveLevel(),
            "device": ranks.device,
            "on_host": ranks.on_host,
            "hosts": ranks.layout.hosts,
            "meet_at": ranks.layout.meet_at,
            "wait": ranks.layout.wait if ranks.layout.hosts > 1 else LONGEST_WAIT,
        }
        job.write(directory, run, model.state_dict(), plan)
        run_ranks(directory, plan, ranks.threads, first=True)
        weights, history = _result(directory)
        model.load_state_dict(weights)
        return FitResult(history, event_files(run_dir))


def _result(directory: Path):
    """Read what was trained; another host may have written it, which takes a while to be seen."""
    until = time.monotonic() + UNTIL_SEEN
    while (made := job.result(directory)) is None and time.monotonic() < until:
        os.listdir(directory)  # NFS looks anew
        time.sleep(0.5)
    if made is None:
        raise ValueError(
            f"The ranks left no model in {directory}: Q2_AAM_RUN_DIR must be a directory that all "
            "hosts share."
        )
    return made


def _tidy(directory: Path) -> None:
    """Remove a job, and leave the logs of its ranks where one of them failed."""
    failed = job.result(directory) is None and not (directory / job.STOPPED).exists()
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif not (failed and path.suffix == ".log"):
            path.unlink(missing_ok=True)
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)


def run_ranks(directory: Path, plan: dict, threads: int, *, first: bool) -> None:
    """Start the ranks of this host and wait for their end; errors are those of `fit_in_ranks`.

    Parameters
    ----------
    directory : Path
        Of the job.
    plan : dict
        Of the job.
    threads : int
        Of each rank.
    first : bool
        Whether this is the host that shows the run.
    """
    arguments = [str(directory), "--parent", str(os.getpid()), "--threads", str(threads)]
    arguments += ["--shown"] if first else []
    endpoint, address = "localhost:0", "localhost"
    if plan["hosts"] > 1:
        endpoint, address = plan["meet_at"], meeting.own_address(plan["meet_at"])
        arguments += ["--address", address]
    config = LaunchConfig(
        min_nodes=plan["hosts"],
        max_nodes=plan["hosts"],
        nproc_per_node=plan["on_host"],
        run_id=plan["run_id"],
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"is_host": first, "timeout": plan["wait"]},
        local_addr=address,
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(directory / "elastic")),
        signals_to_handle="SIGTERM,SIGINT",
        shutdown_timeout=GRACE,
    )
    with _own_signals(), _quiet():
        try:
            elastic_launch(config, sys.executable)("-c", COMMAND.format(path=sys.path), *arguments)
        except SignalException as stop:
            raise (KeyboardInterrupt if stop.sigval == signal.SIGINT else SystemExit) from None
        except ChildFailedError as error:
            raise _failure(directory, error) from None
        except RendezvousError as error:
            raise ValueError(_not_met(plan, error)) from error
    if (directory / job.STOPPED).exists():
        raise SystemExit


def _not_met(plan: dict, error: RendezvousError) -> str:
    if plan["hosts"] == 1:
        return f"The processes of this host did not find each other ({error})."
    if isinstance(error, RendezvousTimeoutError):
        return (
            f"Not all of the {plan['hosts']} hosts came to {plan['meet_at']} within "
            f"{plan['wait']} seconds; run the command that joins on each other host, or set "
            "Q2_AAM_WAIT to more seconds."
        )
    return (
        f"Hosts cannot meet at {plan['meet_at']}, or lost each other ({error}); see that the port "
        "is free on the first host, that no firewall closes it, and that the first host still "
        "runs."
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put back the handlers of signals that torch elastic replaces and leaves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch elastic from saying in its own words what is said in ours."""
    known = logging.getLogger().manager.loggerDict
    theirs = [logging.getLogger(name) for name in known if name.startswith(ELASTIC)]
    before = [logger.level for logger in theirs]
    for logger in theirs:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(theirs, before, strict=True):
            logger.setLevel(level)


def _failure(directory: Path, error: ChildFailedError) -> Exception:
    """Say why the ranks failed: what one said, or how it ended, before what others lost."""
    told = {}
    for path in directory.glob("failure-*.json"):
        told[int(path.stem.partition("-")[2])] = json.loads(path.read_text())
    for kind in ("said", "room", "other"):
        for rank in sorted(told):
            if told[rank]["kind"] == kind:
                return _as_said(directory, rank, told[rank])
    if any(failure.exitcode == job.NO_ROOM for failure in error.failures.values()):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory.parent))
    silent = [(rank, f) for rank, f in error.failures.items() if rank not in told]
    if silent:
        rank, failure = silent[0]
        how = f"exit code {failure.exitcode}"
        if failure.exitcode < 0:
            how = signal.Signals(-failure.exitcode).name
            if failure.exitcode == -signal.SIGKILL:
                how += ", as where the machine has not enough memory"
        return ValueError(_ended(directory, rank, f"process {failure.pid}, {how}"))
    if not told:
        return RuntimeError(str(error))
    rank, failure = min(told.items())
    return ValueError(
        f"Rank {rank} lost another rank, on another host or over the network "
        f"({failure['message']}), so the run was ended. To resume it, run the same commands with "
        "the same Q2_AAM_RUN_DIR."
    )


def _as_said(directory: Path, rank: int, failure: dict) -> Exception:
    if failure["kind"] == "said":
        return ValueError(failure["message"])
    if failure["kind"] == "room":
        return OSError(failure["errno"], failure["message"], failure["place"])
    return RuntimeError(_ended(directory, rank, failure["message"]))


def _ended(directory: Path, rank: int, how: str) -> str:
    """Say that a rank ended before its time, and its last lines."""
    said = f"Rank {rank} ended unexpectedly ({how}), so the run was ended."
    path = directory / f"rank-{rank}.log"
    lines = path.read_text(errors="replace").splitlines()[-LAST_LINES:] if path.exists() else []
    if lines:
        said += f" Its last lines: {' / '.join(line.strip() for line in lines)}"
    return said
