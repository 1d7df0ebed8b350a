"""A detector of scikit-learn or PyOD within our protocol: its sign, its random numbers, and its honest reference."""

import io
import random
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from detectors.base import Fitted
from detectors.libraries.classes import LIBRARIES, Library, defaults_of, find_class, outside_of, version_of

LARGEST = 100_000
"""Limit of a whole number among the parameters, which may come from a file of somebody else."""

STEADY = threading.RLock()
"""Held while a library computes: random numbers, warnings and stdout belong to the whole process."""

PROBED, CROWD = 3, 4096
"""Training rows that are scored alone and among a crowd of far rows, to see whether a score depends on other rows."""


class Wrapped(Fitted):
    """Score of a detector of a library: its own, with the sign turned where there higher is more normal.

    For scikit-learn it is `-score_samples(X)`, for PyOD `decision_function(X)`. Reference scores are cross-fitted.
    Where a class ranks a row among all rows of the call (ECOD, COPOD) or draws random numbers for it (VAE), every row
    is scored by a call of its own, so that no clip changes the score of another. Such scores differ a little from those
    of one call with all rows.

    name: `sklearn:CLASS` or `pyod:CLASS`. parameters: those of its constructor. Rows are learned in the order given.
    """

    def __init__(self, *, name: str, parameters: Mapping[str, Any]) -> None:
        self.name = name
        self.parameters = parameters

    def _min_clips(self) -> int:
        for key, value in self.parameters.items():
            numbers = [
                part for part in (value if isinstance(value, tuple | list) else [value]) if isinstance(part, int)
            ]
            if max(numbers, default=0) > LARGEST and not key.startswith("random"):
                raise ValueError(f"{self.name}: {key}={value}: expected at most {LARGEST}")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        self.trained_ = Trained(self.name, self.parameters, X, version_of(self.name))
        self.trained_.scores(X[:1])  # fits now, where an error belongs

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.trained_.scores(X)


@dataclass(frozen=True, eq=False)
class Trained:
    """Training rows (n, d), and the library's object, which is fitted to them when it is first needed.

    version: of the library that computed the reference scores.
    """

    name: str
    parameters: Mapping[str, Any]
    rows: np.ndarray
    version: str

    @cached_property
    def estimator(self) -> Any:
        """The fitted object; ValueError where it cannot be made or fitted."""
        cls = find_class(self.name)
        values = {**_values(defaults_of(cls), self.parameters), **outside_of(cls, self.rows.shape[1])}
        with self._reported("fit"):
            return cls(**values).fit(np.asarray(self.rows, dtype=np.float64))

    @cached_property
    def together(self) -> bool:
        """Whether rows can be scored in one call: a score does not depend on the other rows of the call."""
        if self._library.rowwise:
            return True
        rows = np.asarray(self.rows[: max(PROBED, CROWD)], dtype=np.float64)
        probe, far = rows[:PROBED], rows + 10 * (np.ptp(rows, axis=0) + 1)
        scores = self._scored(np.concatenate([probe, far]))[: len(probe)]
        alone = np.concatenate([self._scored(row[None]) for row in probe])
        return bool(np.abs(scores - alone).max() <= 1e-4 * np.abs(scores).max())

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Anomaly scores (m,) of rows X (m, d)."""
        X = np.asarray(X, dtype=np.float64)
        return self._scored(X) if self.together else np.concatenate([self._scored(row[None]) for row in X])

    @property
    def _library(self) -> Library:
        return LIBRARIES[self.name.partition(":")[0]]

    def _scored(self, X: np.ndarray) -> np.ndarray:
        library, estimator = self._library, self.estimator
        with self._reported(library.scorer):
            scores = library.sign * np.asarray(getattr(estimator, library.scorer)(X), dtype=np.float64)
        if scores.shape != (len(X),) or not np.isfinite(scores).all():
            raise ValueError(
                f"{self.name}.{library.scorer}: expected {len(X)} finite scores, got shape {scores.shape} with "
                f"{int((~np.isfinite(scores)).sum())} values that are not finite; use another detector"
            )
        return scores

    @contextmanager
    def _reported(self, method: str) -> Iterator[None]:
        """Errors of the library become a ValueError that names the detector; its random numbers are fixed."""
        try:
            with steady():
                yield
        except Exception as error:
            raise ValueError(f"{self.name}.{method}: {type(error).__name__}: {error}") from error


def _values(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters to call with: those given, lists where the library has lists, else the defaults."""
    values = {**defaults, **given}
    for key, value in given.items():
        if isinstance(defaults.get(key), list):
            values[key] = list(value) if isinstance(value, tuple | list) else [value]
    return values


@contextmanager
def steady() -> Iterator[None]:
    """Random numbers of Python, numpy and torch from a fixed seed, as they were afterwards; nothing is printed.

    Several classes of PyOD have no `random_state` and draw from the global generators. Warnings of what will change in
    a later version are for the authors of the library. One thread at a time: a second one waits.
    """
    with STEADY, _fixed():
        yield


@contextmanager
def _fixed() -> Iterator[None]:
    torch = sys.modules.get("torch")
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the library's own generators
    restored = torch.random.fork_rng() if torch else nullcontext()
    with restored, redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        if torch:
            torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
