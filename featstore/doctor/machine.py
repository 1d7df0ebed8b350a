"""Cores and memory that this process may use, by the system and by the limits of its container (cgroup)."""

import os
from collections.abc import Iterator
from pathlib import Path

from featstore.building.cores import cores
from featstore.console import size
from featstore.doctor.finding import NOTE, Finding

CGROUP = Path("/sys/fs/cgroup")
VARIABLES = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HOME",
    "FEATSTORE_MODELS",
    "TMPDIR",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "CUDA_VISIBLE_DEVICES",
    "HDF5_USE_FILE_LOCKING",
    "RAY_ADDRESS",
)
"""Environment variables that change what a command does or how fast it is."""

TIGHT_BYTES = 2e9


def cores_found(root: Path = CGROUP) -> Finding:
    """Cores that commands use, those of the machine, and the limit of the container."""
    used, limit = cores(), cpu_limit(root)
    text = f"{used} of {os.cpu_count() or used} usable"
    if limit is None or limit >= used:
        return Finding("cores", text)
    text += f", but the container (cgroup) gives the time of {limit:g}"
    return Finding("cores", text, NOTE, f"--workers {max(1, int(limit))}")


def memory_found(root: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Memory of the machine, or of the container where that has less, and how much of it is free."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    total, free = (1024 * int(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    where, limit = "", memory_limit(root)
    if limit is not None and limit[0] < total:
        total, free, where = limit[0], min(free, limit[1]), " (limit of the container)"
    text = f"{size(free)} free of {size(total)}{where}"
    return Finding("memory", text, NOTE, "fewer --workers") if free < TIGHT_BYTES else Finding("memory", text)


def variables_found() -> Finding:
    """The environment variables that are set and change what commands do."""
    given = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}
    meaning = "; weights are not downloaded" if offline else ""
    return Finding("environment", (", ".join(given) or "nothing is set that changes the commands") + meaning)


def cpu_limit(root: Path = CGROUP) -> float | None:
    """Cores whose time the container may use; None without a limit."""
    limits = [int(quota) / int(period) for quota, period in _quotas(root) if quota not in ("max", "-1")]
    return min(limits, default=None)


def memory_limit(root: Path = CGROUP) -> tuple[int, int] | None:
    """Bytes that the container may use, and how many of them are free; None without a limit."""
    limits = []
    for folder in _folders(root, "memory"):
        for most, now in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _text(folder / most), _text(folder / now)
            if limit.isdigit() and used.isdigit():
                limits.append((int(limit), max(0, int(limit) - int(used) + _cached(folder / "memory.stat"))))
    return min(limits, default=None)


def _cached(stat: Path) -> int:
    """Bytes of files in memory that are given up first; they count as used, but are not needed."""
    fields = dict(line.partition(" ")[::2] for line in _text(stat).splitlines())
    value = fields.get("inactive_file", fields.get("total_inactive_file", "0"))
    return int(value) if value.isdigit() else 0


def _quotas(root: Path) -> Iterator[tuple[str, str]]:
    """Quota and period of every level, of cgroup version 2 or 1."""
    for folder in _folders(root, "cpu"):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2:
            yield words[0], words[1]
        old = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if all(old):
            yield old


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the group of this process, up to the root: of version 2, and of a controller of version 1."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        top = root / controllers if controllers else root
        if not controllers or controller in controllers.split(","):
            group = top / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder == top or top in folder.parents)
    yield root / controller


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
