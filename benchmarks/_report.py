"""What all benchmarks share: arguments, the machine's description, a table and its JSON."""

import argparse
import json
import os
import platform
from pathlib import Path

import numpy as np
import torch

RESULTS = Path("benchmark-results")


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seed", type=int, default=0, help="of every random draw (default: 0)")
    made.add_argument("--json", metavar="PATH", help=f"default: {RESULTS}/NAME.json")
    return made


def machine() -> dict[str, str | int | float]:
    """Describe the machine and the versions that matter for speed."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_GiB": round(gib, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def report(name: str, rows: list[dict], path: str | None = None, **more) -> None:
    """Print rows as a table, and write them as JSON with the machine's description.

    Parameters
    ----------
    name : str
        Of the benchmark, and of its file.
    rows : list of dict
        One a line; the first row's keys head the columns.
    path : str, optional
        Where to write the JSON.
    **more
        What else the JSON is to tell.
    """
    described = machine()
    print(", ".join(f"{key} {value}" for key, value in described.items()))
    header = list(rows[0])
    cells = [header] + [[_text(row.get(key, "")) for key in header] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    for line in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())
    target = Path(path) if path else RESULTS / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"benchmark": name, "machine": described, "rows": rows, **more}
    target.write_text(json.dumps(content, indent=2, default=float) + "\n")
    print(f"written to {target}")


def _text(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
