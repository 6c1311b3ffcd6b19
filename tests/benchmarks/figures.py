"""What all benchmarks share: programs measured in processes of their own, and tables of figures on disk.

Figures are written where DESCANT_BENCH_OUT names a folder: ``bench-<name>.json`` with the machine and everything
measured, and ``bench-<name>.md`` with the table. Existing files are replaced.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("ray", "torch", "transformers", "sentence-transformers", "bm25s", "numpy")
SAME_PRIORITY = {"RAY_worker_niceness": "0"}
"""Ray gives way with its workers; on a machine that is not quiet that would be a handicap for one side only."""

Row = Mapping[str, str | int | float]


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What ``python <command>`` prints as JSON, with its peak memory and the load it met.

    ``peak_mib`` is the sum of the resident memory of all its processes, so memory that they share counts several
    times. ``cpu_seconds`` is theirs, start and imports included, unless the program says it itself; ``others_cores``
    is how many cores the rest of the machine kept busy meanwhile.
    """
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **SAME_PRIORITY, **(environment or {})},
    )
    peak, cpu, begin, busy = 0, dict[int, float](), time.monotonic(), busy_seconds()
    while process.poll() is None:
        peak = max(peak, sampled(process.pid, cpu))
        time.sleep(0.2)
    assert process.returncode == 0, f"{' '.join(command)}: exit code {process.returncode}"
    assert process.stdout is not None
    others = (busy_seconds() - busy - sum(cpu.values())) / (time.monotonic() - begin)
    figures: dict[str, Any] = json.loads(process.stdout.read().splitlines()[-1])
    return {
        "peak_mib": peak >> 20,
        "cpu_seconds": round(sum(cpu.values()), 1),
        "others_cores": round(max(0.0, others), 2),
        **figures,
    }


def sampled(root: int, cpu: dict[int, float]) -> int:
    """Resident bytes of a process and all below it; their processor seconds so far are noted in ``cpu``."""
    resident = 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(root)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                resident += process.memory_info().rss
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
    return resident


def busy_seconds() -> float:
    """Processor seconds the whole machine has spent so far."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def machine() -> dict[str, Any]:
    """Where and with what the figures were made."""
    model = platform.processor() or platform.machine()
    with suppress(FileNotFoundError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def report(name: str, title: str, rows: Sequence[Row], notes: Sequence[str], **details: Any) -> None:
    """Show the rows, and write them where DESCANT_BENCH_OUT says; ``details`` go into the JSON file only."""
    sys.stdout.write("\n".join(["", title, *_aligned(rows), *notes, ""]))
    sys.stdout.flush()
    if "DESCANT_BENCH_OUT" not in os.environ:
        return
    folder, here = Path(os.environ["DESCANT_BENCH_OUT"]), machine()
    everything = {"benchmark": name, "machine": here, "rows": rows, "notes": notes, **details}
    (folder / f"bench-{name}.json").write_text(json.dumps(everything, indent=1) + "\n", "utf-8")
    packages = ", ".join(f"{package} {version}" for package, version in here["packages"].items())
    made = f"{here['date']}, {here['cores']} cores ({here['cpu']}), Python {here['python']}, {packages}."
    lines = [f"# {title}", "", *_markdown(rows), "", *(f"- {note}" for note in notes), "", made, ""]
    (folder / f"bench-{name}.md").write_text("\n".join(lines), "utf-8")


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    shown = [[value if isinstance(value, str) else f"{value:,}" for value in row.values()] for row in rows]
    return [list(rows[0]), *shown]


def _aligned(rows: Sequence[Row]) -> list[str]:
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]


def _markdown(rows: Sequence[Row]) -> list[str]:
    head, *body = _cells(rows)
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)]


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None
