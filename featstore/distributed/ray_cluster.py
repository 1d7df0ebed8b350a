"""A Ray cluster: how it is reached, what room it has, and which code it must run."""

import hashlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from featstore.building.work import ENVIRONMENT
from featstore.errors import DataError, RequestError

CONNECT_S = 10.0
PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No statistics to anyone, and no warning about workers without a GPU."""


@dataclass(frozen=True)
class Need:
    """What one actor takes of a machine: processors, GPUs (a part of one allowed) and bytes of memory."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0

    def options(self) -> dict[str, float]:
        """The same for Ray."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus} | ({"memory": self.memory} if self.memory else {})

    def places(self) -> int:
        """How many such actors the cluster holds at once."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        machines = [node["Resources"] for node in library().nodes() if node["Alive"]]
        return sum(
            int(min(machine.get(name, 0) // amount for name, amount in wanted.items() if amount))
            for machine in machines
        )


def library() -> Any:
    """Ray itself; RequestError with the cure where it is not installed."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise RequestError("--engine ray needs ray: pip install 'featstore[ray]'") from error
    return ray


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to the cluster at `address`, or start one of this machine alone that ends with the block.

    address: auto (the cluster that this machine is part of), HOST:PORT of its head, ray://HOST:PORT from a machine
    outside it; without one RAY_ADDRESS. Inside the block prints go to stderr. Raises RequestError when ray is not
    installed, DataError when no cluster answers.
    """
    ray, where = library(), address or os.environ.get("RAY_ADDRESS") or "local"
    _refuse_silent(where)
    own = {"include_dashboard": False} if where == "local" else {}
    try:
        environment = {"env_vars": dict(ENVIRONMENT)}
        ray.init(where, log_to_driver=False, logging_level="ERROR", runtime_env=environment, **own)
    except (ValueError, ConnectionError, RuntimeError, ImportError) as error:
        raise DataError(f"--address {where}: {str(error).splitlines()[0]}") from error
    with redirect_stdout(sys.stderr):  # Ray prints of dead workers, and stdout is for results
        try:
            yield
        finally:
            ray.shutdown()


def has_gpus() -> bool:
    """Whether some machine of the cluster has a GPU."""
    return bool(library().cluster_resources().get("GPU"))


def _refuse_silent(where: str) -> None:
    """Ray itself asks for minutes, and then ends the process."""
    match = re.fullmatch(r"(?:ray://)?(\[.+\]|[^:/]+):(\d+)", where)
    if match is None:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DataError(
            f"--address {where}: nobody answers there ({error}); start the cluster with `ray start --head` on "
            "that machine, or leave --address out to use this machine alone"
        ) from error


@cache
def code_digest() -> str:
    """A digest of the source files of this project as they are installed here."""
    digest, home = hashlib.sha256(), Path(__file__).parents[2]
    for path in sorted(path for name in PACKAGES for path in (home / name).rglob("*.py")):
        digest.update(f"{path.relative_to(home)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
