"""Values that are expensive to make, kept within a bound of bytes; each is made once, and few at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

MOST_BYTES = 256 << 20
AT_ONCE = 2
"""Values that are made at the same time; the others wait."""

T = TypeVar("T")


class Cache:
    """Values by key, of at most `most_bytes` together; those used longest ago are dropped first. Thread-safe.

    A value may need others while it is made, but never itself.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, at_once: int = AT_ONCE) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._making: dict[Hashable, Future[Any]] = {}
        self._places = threading.BoundedSemaphore(at_once)
        self._thread = threading.local()

    @property
    def bytes(self) -> int:
        """Bytes of all values that are kept."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of a key, made if it is not kept; size: its bytes. A larger value than the bound is not kept.

        An error of `make` reaches everyone who waits for this value, and is not kept.
        """
        found = self._found(key)
        if found is None:
            with self._place():
                found = self._found(key, begin=True)
                if found is None:
                    return self._make(key, make, size)
                if self._depth > 1:  # the place of this thread is needed further; who makes the value has one as well
                    found.exception()
        value: T = found.result()
        return value

    @property
    def _depth(self) -> int:
        """How many values this thread makes, each for the one before."""
        depth: int = getattr(self._thread, "depth", 0)
        return depth

    def _found(self, key: Hashable, *, begin: bool = False) -> "Future[Any] | None":
        """What is kept or being made; begin: None means that the caller makes it now."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                done: Future[Any] = Future()
                done.set_result(self._kept[key][0])
                return done
            if key in self._making:
                return self._making[key]
            if begin:
                self._making[key] = Future()
            return None

    def _make(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        try:
            value = make()
            needed = size(value)
        except BaseException as error:
            with self._lock:
                self._making.pop(key).set_exception(error)
            raise
        with self._lock:
            if needed <= self.most_bytes:
                self._kept[key] = value, needed
                self._bytes += needed
            while self._bytes > self.most_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][1]
            self._making.pop(key).set_result(value)
        return value

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places to make values; a value that another one needs is made in the place of that one."""
        depth = self._depth
        if not depth:
            self._places.acquire()
        self._thread.depth = depth + 1
        try:
            yield
        finally:
            self._thread.depth = depth
            if not depth:
                self._places.release()
