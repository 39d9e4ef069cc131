"""Joins a run that another host has started, with the devices of this one.

Run this on each host but the first, with the same Q2_AAM_RUN_DIR (on storage that all hosts share)
and the same Q2_AAM_MEET_AT as there. It waits for the first host, and ends with the run.
"""

import argparse
import json
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch

import q2_aam
from q2_aam.core.training.processors import number_of_threads
from q2_aam.core.training.ranks import job, meeting
from q2_aam.core.training.ranks.launch import PLACE, run_ranks
from q2_aam.core.training.ranks.layout import MEET_AT, WAIT, Layout

log = logging.getLogger(__name__)

LOOKS = 0.5
"""Seconds between looks for the first host."""
PROBES = 5.0
"""Seconds between looks whether the first host still answers."""
RUN_DIR = "Q2_AAM_RUN_DIR"


def main(arguments=None) -> int:
    """Run the command: 0 if the run came to its end, or was asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--all",
        action="store_true",
        help="join one run after the other, until stopped; for cross-validation and pipelines",
    )
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    served: set[str] = set()
    try:
        layout, root = _said_of_machine()
        while True:
            _join(root, layout, served)
            if not args.all:
                return 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except (SystemExit, KeyboardInterrupt):
        log.info("The run was stopped. The first host says how to go on.")
        return 0


def _said_of_machine() -> tuple[Layout, Path]:
    layout, root = Layout.from_environment(os.environ), os.environ.get(RUN_DIR)
    if not root:
        raise ValueError(
            f"{RUN_DIR} is not set; set it to the directory, shared by all hosts, that the first "
            "host has in it."
        )
    if layout.meet_at is None:
        raise ValueError(f"{MEET_AT} is not set; set it to what the first host has in it.")
    return layout, Path(root)


def _join(root: Path, layout: Layout, served: set[str]) -> None:
    directory, plan = wait_for_job(root, layout, served)
    served.add(plan["run_id"])
    check(plan)
    log.info("Joining the run in %s with %d processes.", directory.parent, plan["on_host"])
    threads = max(1, number_of_threads(torch.get_num_threads()) // plan["on_host"])
    ended = threading.Event()
    threading.Thread(target=_end_without_first, args=(plan, ended), daemon=True).start()
    try:
        run_ranks(directory, plan, threads, first=False)
    finally:
        ended.set()
    log.info("The run in %s has ended.", directory.parent)


def _end_without_first(plan: dict, ended: threading.Event) -> None:
    """End this process, and its ranks with it, where the first host does not answer any more.

    Where a network is cut, TCP itself gives up after a quarter of an hour.
    """
    heard = time.monotonic()
    while not ended.wait(PROBES):
        if meeting.is_open(plan["meet_at"]):
            heard = time.monotonic()
        elif time.monotonic() - heard > plan["wait"]:
            print(
                f"The first host has not answered at {plan['meet_at']} for {plan['wait']} "
                "seconds, so this host leaves the run. The first host says how to go on.",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            os._exit(1)


def wait_for_job(root: Path, layout: Layout, served: set[str]) -> tuple[Path, dict]:
    """Wait until the first host listens and has left a job for all.

    Parameters
    ----------
    root : Path
        Of the run directories.
    layout : Layout
    served : set of str
        Runs that have had their time.

    Returns
    -------
    Path
        Directory of the job.
    dict
        Its plan.

    Raises
    ------
    ValueError
        If that takes too long.
    """
    until = time.monotonic() + layout.wait
    while True:
        if meeting.is_open(layout.meet_at):
            for directory, plan in _jobs(root):
                if plan["meet_at"] == layout.meet_at and plan["run_id"] not in served:
                    return directory, plan
        if time.monotonic() > until:
            raise ValueError(
                f"No run that meets at {layout.meet_at} has begun in {root} within {layout.wait} "
                f"seconds; start it on the first host, or set {WAIT} to more seconds."
            )
        time.sleep(LOOKS)


def _jobs(root: Path) -> list[tuple[Path, dict]]:
    """List the jobs under a root, the latest first; what disappears meanwhile is passed over."""
    found = []
    for path in root.glob(f"*/{PLACE}/{job.JOB}"):
        with suppress(OSError, ValueError):
            found.append((path.stat().st_mtime, path.parent, json.loads(path.read_text())["plan"]))
    return [(directory, plan) for _, directory, plan in sorted(found, key=lambda f: -f[0])]


def check(plan: dict) -> None:
    """Refuse a run that this host cannot take part in.

    Raises
    ------
    ValueError
        If it has another release, or fewer GPUs than are needed.
    """
    if plan["version"] != q2_aam.__version__:
        raise ValueError(
            f"The first host has q2-aam {plan['version']}, this one {q2_aam.__version__}; install "
            "the same release on all hosts."
        )
    found = torch.cuda.device_count()
    if plan["device"] == "cuda" and found < plan["on_host"]:
        raise ValueError(
            f"The first host uses {plan['on_host']} GPUs, but this one has {found}; set "
            "Q2_AAM_DEVICES on the first host to what each host has."
        )


if __name__ == "__main__":
    sys.exit(main())
