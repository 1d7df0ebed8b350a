"""The last few values of something that takes long to make, each made once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class _Entry(Generic[V]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: list[V] = []


class Kept(Generic[V]):
    """The `most` last values by key. Two threads that ask for the same one wait for one computation of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key, made now if it is not kept. An error of `make` is raised; the next call tries again."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.lock:
            if not entry.values:
                entry.values.append(make())
            return entry.values[0]

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        with self._lock:
            self._entries.pop(key, None)

    def values(self) -> list[V]:
        """All values that are ready."""
        with self._lock:
            return [value for entry in self._entries.values() for value in entry.values]
