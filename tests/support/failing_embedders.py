"""Embedders that fail in every way, for tests and the worker processes that they start."""

import multiprocessing
import os
import sys
from dataclasses import dataclass

import numpy as np
from fakes import MomentsEmbedder


def in_worker() -> bool:
    """Whether this process was started by another one."""
    return multiprocessing.parent_process() is not None


class TwoArguments(Exception):
    """Cannot be rebuilt from its text, as an exception that crosses a process is."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def raising() -> MomentsEmbedder:
    """Cannot be made anywhere."""
    raise KeyError("conv1.weight")


def raising_in_worker() -> MomentsEmbedder:
    """Cannot be made in a worker process."""
    if in_worker():
        raise TwoArguments("one layer", "no weights")
    return MomentsEmbedder()


def leaving() -> MomentsEmbedder:
    """Ends its process with an exception that is no error."""
    sys.exit(0)


def hungry_in_worker() -> MomentsEmbedder:
    """Needs more memory than a worker process has."""
    if in_worker():
        raise MemoryError
    return MomentsEmbedder()


def dying_in_worker() -> MomentsEmbedder:
    """Crashes a worker process while it is made."""
    if in_worker():
        os._exit(9)
    return MomentsEmbedder()


@dataclass(frozen=True)
class Infinite(MomentsEmbedder):
    """Returns NaN for every wave."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        return np.full((len(waves), 3), np.nan, np.float32)


@dataclass(frozen=True)
class Deadly(MomentsEmbedder):
    """Crashes its process at every wave."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        os._exit(9)


@dataclass(frozen=True)
class Listing(MomentsEmbedder):
    """Returns a list in place of an array."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        return super().embed(waves).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Doubled(MomentsEmbedder):
    """Returns twice as many vectors as there are waves."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        return np.repeat(super().embed(waves), 2, axis=0)


@dataclass(frozen=True)
class Counting(MomentsEmbedder):
    """Returns whole numbers."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        return super().embed(waves).astype(np.int64)


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@dataclass(frozen=True)
class Hungry(MomentsEmbedder):
    """Runs out of the memory of an accelerator."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        raise OutOfMemoryError("tried to allocate 20 GiB")
