"""One computation in a process of its own, so that the page answers meanwhile; it ends with the page."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from featstore.building.pool import follow_parent
from featstore.errors import AsdError, DataError

Compute = Callable[[np.ndarray], np.ndarray]


class Computation:
    """The result of `compute(X)`, made in another process; `compute` is a function of a module.

    result: None while it is computed. error: why there is none, "" otherwise.
    """

    def __init__(self, compute: Compute, X: np.ndarray) -> None:
        self.result: np.ndarray | None = None
        self.error = ""
        self._start = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(compute, X), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether neither a result nor an error is there."""
        return self._thread.is_alive()

    @property
    def seconds(self) -> int:
        """How long it has been running."""
        return int(time.monotonic() - self._start)

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        self._thread.join(seconds)

    def _run(self, compute: Compute, X: np.ndarray) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(compute, X, theirs), daemon=True)
        try:
            process.start()
            theirs.close()
            answer = ours.recv()
        except EOFError:
            answer = "its process ended without a result, probably out of memory"
        except OSError as error:
            answer = f"its process cannot be started: {error.strerror or error}"
        finally:
            ours.close()
        if process.pid is not None:
            process.join()
        if isinstance(answer, str):
            self.error = answer
        else:
            self.result = answer


def _work(compute: Compute, X: np.ndarray, answers: Connection) -> None:
    """Send the result, or why there is none, as text."""
    follow_parent()
    answers.send(attempt(compute, X))
    answers.close()


def attempt(compute: Compute, X: np.ndarray) -> Any:
    """The result of `compute(X)`, or why there is none, as text."""
    try:
        return compute(X)
    except AsdError as error:
        return str(error)
    except Exception as error:  # of a library, shown in the page
        return f"{type(error).__name__}: {error}"


def outcome(computation: Computation) -> np.ndarray | None:
    """The result, None while it is computed; DataError where it failed."""
    if computation.is_running:
        return None
    if computation.result is None:
        raise DataError(computation.error)
    return computation.result
