"""A Ray cluster: connection, free capacity, and a check that it runs the same code."""

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

from featstore.building.pool import ENVIRONMENT
from featstore.errors import DataError, RequestError, reason_of

CONNECT_S = 10.0
PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Disables usage statistics and the warning about workers without a GPU."""


@dataclass(frozen=True)
class ActorResources:
    """Resources of one actor: CPU cores, GPUs (fractions allowed) and bytes of memory."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0

    def options(self) -> dict[str, float]:
        """The resources as options of Ray."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus} | ({"memory": self.memory} if self.memory else {})

    def capacity(self) -> int:
        """How many such actors the cluster can run at the same time."""
        amounts = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        nodes = [node["Resources"] for node in load_ray().nodes() if node["Alive"]]
        return sum(
            int(min(node.get(name, 0) // amount for name, amount in amounts.items() if amount)) for node in nodes
        )


def load_ray() -> Any:
    """The ray module; RequestError with the install command when it is missing."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise RequestError("--engine ray needs ray: pip install 'featstore[ray]'") from error
    return ray


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to the cluster at `address`, or start a local one that ends with the block.

    address: auto (the cluster that this machine belongs to), HOST:PORT of the head node, or ray://HOST:PORT from
    outside the cluster; default RAY_ADDRESS. Inside the block prints go to stderr. Raises RequestError when ray is not
    installed, DataError when no cluster answers.
    """
    ray, where = load_ray(), address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(where)
    local = {"include_dashboard": False} if where == "local" else {}
    try:
        environment = {"env_vars": dict(ENVIRONMENT)}
        ray.init(where, log_to_driver=False, logging_level="ERROR", runtime_env=environment, **local)
    except (ValueError, ConnectionError, RuntimeError, ImportError) as error:
        raise DataError(f"--address {where}: {str(error).splitlines()[0]}") from error
    with redirect_stdout(sys.stderr):  # Ray prints messages about workers, stdout is for results
        try:
            yield
        finally:
            ray.shutdown()


def has_gpus() -> bool:
    """Whether any machine of the cluster has a GPU."""
    return bool(load_ray().cluster_resources().get("GPU"))


def _check_answers(where: str) -> None:
    """Raise DataError when nothing listens at the address; Ray would retry for minutes and then end the process."""
    match = re.fullmatch(r"(?:ray://)?(\[.+\]|[^:/]+):(\d+)", where)
    if match is None:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DataError(
            f"--address {where}: no cluster answers at this address ({reason_of(error)}); start one there with "
            "`ray start --head`, or omit --address to use only this machine"
        ) from error


@cache
def code_digest() -> str:
    """Digest of the installed source files of this project."""
    digest, home = hashlib.sha256(), Path(__file__).parents[2]
    for path in sorted(path for name in PACKAGES for path in (home / name).rglob("*.py")):
        digest.update(f"{path.relative_to(home)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
