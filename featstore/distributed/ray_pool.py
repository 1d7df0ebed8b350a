"""A crew of Ray actors that outlives the death of any of them."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from featstore.distributed.ray_cluster import Need, code_digest, library
from featstore.errors import AsdError, RequestError, ResourceError

P = ParamSpec("P")
T = TypeVar("T")

DEATHS = 3
"""Deaths of workers over one piece of work after which the work is held to be their cause."""


class WorkerDied(AsdError):
    """Raised when workers died over a piece of work as often as was tried."""


class Holder:
    """What runs in an actor: it makes something once, when it is first needed, and calls its methods."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.held: Any = None

    def ready(self) -> tuple[str, str]:
        """Name of the machine, and what code it runs."""
        return socket.gethostname(), code_digest()

    def call(self, method: str, *args: Any) -> Any:
        """The result of a method of what is held; what it raises comes back to the caller."""
        if self.held is None:
            self.held = self.make()
        return getattr(self.held, method)(*args)


class Crew:
    """`size` actors, each holding what `make` makes, and as many threads here, each of which leads one actor.

    A piece of work is a function that runs in a thread and calls its actor; it waits until there is an actor that
    idles. So no actor ever has two pieces of work, and its death is the doing of the one that it had.
    """

    def __init__(self, make: Callable[[], Any], size: int, need: Need) -> None:
        self._make, self._need = make, need
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._actors: set[Any] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(size, "crew", initializer=self._begin)

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Let `work` run in the next free thread."""
        return self._threads.submit(work, *args, **kwargs)

    def call(self, method: str, *args: Any, tries: int = DEATHS) -> Any:
        """From a piece of work: call a method of what its actor holds.

        A dead actor is replaced, and the call repeated. Raises WorkerDied when `tries` of them died, ResourceError when
        the cluster fails or none can start, and what the method raised.
        """
        if self._mine.failure is not None:
            raise self._mine.failure
        ray = library()
        for _ in range(tries):
            try:
                return ray.get(self._mine.actor.call.remote(method, *args))
            except ray.exceptions.RayTaskError as error:
                raise _cause(error, self._mine.host) from error
            except ray.exceptions.RayActorError:
                self._start()
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise WorkerDied(f"the worker died that prepared it: {error}") from error
            except ray.exceptions.RayError as error:
                raise ResourceError(f"the Ray cluster failed: {error}; run the same command again to go on") from error
        raise WorkerDied(f"{tries} workers died over it, the last on {self._mine.host}")

    def close(self) -> None:
        """End the actors without waiting for what they do."""
        with self._lock:
            self._closed = True
            for actor in self._actors:
                with suppress(Exception):  # the cluster may have gone
                    library().kill(actor)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> None:
        """Start a thread's actor; what is raised here is told by the first call."""
        self._mine.failure = None
        try:
            self._start()
        except Exception as error:  # an executor would swallow it
            self._mine.failure = error

    def _start(self) -> None:
        """A new actor for this thread, once the cluster has a place for it; RequestError when its code is not ours."""
        ray = library()
        remote = ray.remote(Holder).options(**self._need.options(), scheduling_strategy="SPREAD")
        for _ in range(DEATHS):
            with self._lock:
                if self._closed:
                    raise CancelledError("the crew was closed")
                self._actors.discard(getattr(self._mine, "actor", None))
                self._mine.actor = remote.remote(self._make)
                self._actors.add(self._mine.actor)
            try:
                self._mine.host, digest = ray.get(self._mine.actor.ready.remote())
            except ray.exceptions.RayActorError as error:
                reason = str(error).strip().splitlines()[-1]
                continue
            if digest != code_digest():
                raise RequestError(
                    f"{self._mine.host} runs other code of this project ({digest}) than this machine "
                    f"({code_digest()}); install the same version on every machine of the cluster"
                )
            return
        raise ResourceError(
            f"{DEATHS} Ray workers could not start: {reason}; install the same version of this project on every "
            "machine of the cluster"
        )


def _cause(error: Any, host: str) -> BaseException:
    """What a worker raised, as it would have been raised here, with a note of where it was."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    if not isinstance(cause, AsdError):
        cause.add_note(f"in a Ray worker on {host}:\n{error}")
    return cause
