"""A pool of Ray actors that replaces crashed actors."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from featstore.distributed.ray_cluster import ActorResources, code_digest, load_ray
from featstore.errors import AsdError, RequestError, ResourceError

P = ParamSpec("P")
T = TypeVar("T")

MAX_CRASHES = 3
"""After this number of crashes the task itself counts as their cause."""


class WorkerCrashed(AsdError):
    """Raised when every attempt at a task crashed its worker."""


class LazyActor:
    """An actor that creates its object and then calls the object's methods."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.target: Any = None

    def ready(self) -> tuple[str, str]:
        """Name of the machine, and digest of its code."""
        return socket.gethostname(), code_digest()

    def begin(self) -> None:
        """Create the object; exceptions are raised in the caller."""
        self.target = self.make()

    def call(self, method: str, *args: Any) -> Any:
        """The result of a method of the object; exceptions are raised in the caller."""
        return getattr(self.target, method)(*args)


class ActorPool:
    """`size` actors, each with its own object created by `make`, and one local thread per actor.

    A task is a function that runs in a free thread and calls the actor of that thread. An actor has one task at a time,
    so a crash is attributed to the current task.
    """

    def __init__(self, make: Callable[[], Any], size: int, resources: ActorResources) -> None:
        self._make, self._resources = make, resources
        self._local = threading.local()  # actor, host, and failure of the thread
        self._lock = threading.Lock()
        self._actors: set[Any] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(size, "actor-pool", initializer=self._begin)

    def submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `task` in the next free thread."""
        return self._threads.submit(task, *args, **kwargs)

    def call(self, method: str, *args: Any, tries: int = MAX_CRASHES) -> Any:
        """Call a method of the actor's object, from a task.

        A crashed actor is replaced and the call repeated. Raises WorkerCrashed after `tries` crashes, ResourceError
        when the cluster fails or no actor can start, and the exceptions of the method.
        """
        if self._local.failure is not None:
            raise self._local.failure
        ray = load_ray()
        for _ in range(tries):
            try:
                return ray.get(self._local.actor.call.remote(method, *args))
            except ray.exceptions.RayTaskError as error:
                raise _cause(error, self._local.host) from error
            except ray.exceptions.RayActorError:
                self._start()
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise WorkerCrashed(f"the worker that prepared the task crashed: {error}") from error
            except ray.exceptions.RayError as error:
                raise ResourceError(f"the Ray cluster failed: {error}; run the same command again to resume") from error
        raise WorkerCrashed(f"{tries} workers crashed in this task, the last on {self._local.host}")

    def close(self) -> None:
        """Stop the actors without waiting for running tasks."""
        with self._lock:
            self._closed = True
            for actor in self._actors:
                with suppress(Exception):  # the cluster may have ended
                    load_ray().kill(actor)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> None:
        """Start the actor of a thread; the first call raises an error that occurs here."""
        self._local.failure = None
        try:
            self._start()
        except Exception as error:  # an executor would hide it
            self._local.failure = error

    def _start(self) -> None:
        """Start an actor for this thread when the cluster has room.

        RequestError when its machine runs other code, ResourceError when no actor starts, and what creating its object
        raises.
        """
        ray = load_ray()
        remote = ray.remote(LazyActor).options(**self._resources.options(), scheduling_strategy="SPREAD")
        for _ in range(MAX_CRASHES):
            with self._lock:
                if self._closed:
                    raise CancelledError("the actor pool was closed")
                self._actors.discard(getattr(self._local, "actor", None))
                self._local.actor = remote.remote(self._make)
                self._actors.add(self._local.actor)
            begun = ""
            try:
                self._local.host, digest = ray.get(self._local.actor.ready.remote())
                self._check_code(digest)
                begun = f"on {self._local.host}, while it made what it computes with: "
                ray.get(self._local.actor.begin.remote())
            except ray.exceptions.RayTaskError as error:
                raise _cause(error, self._local.host) from error
            except ray.exceptions.RayActorError as error:
                reason = begun + str(error).strip().splitlines()[-1]
                continue
            return
        raise ResourceError(
            f"{MAX_CRASHES} Ray workers could not start: {reason}; install the same version of this project on every "
            "machine of the cluster, and make sure that a worker has enough memory"
        )

    def _check_code(self, digest: str) -> None:
        if digest != code_digest():
            raise RequestError(
                f"{self._local.host} runs other code of this project ({digest}) than this machine "
                f"({code_digest()}); install the same version on every machine of the cluster"
            )


def _cause(error: Any, host: str) -> BaseException:
    """The exception that a worker raised, with a note that names the machine."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    if not isinstance(cause, AsdError):
        cause.add_note(f"in a Ray worker on {host}:\n{error}")
    return cause
