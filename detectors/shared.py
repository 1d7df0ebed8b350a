"""What several detectors compute from the same rows, computed once.

Inside `with sharing(detectors):`, `once(compute, *arrays)` returns the same object for the same arrays. A scope belongs
to one bank and its queries, so its memory is that of the results, which are freed when it ends: 12 times the rows for
the default grid of a selection, 5 times for the default ensemble (960 and 574 rows of 128 columns).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class _Scope:
    def __init__(self, longest: dict[type, int]) -> None:
        self.longest = longest
        self.results: dict[Any, tuple[Any, Any]] = {}  # with their arguments, whose ids would be reused otherwise


_SCOPE: ContextVar[_Scope | None] = ContextVar("scope", default=None)


@contextmanager
def sharing(detectors: Iterable[Any] = ()) -> Iterator[None]:
    """Share results among these detectors until the block ends."""
    longest: dict[type, int] = {}
    for detector in detectors:
        inner = getattr(detector, "detector", detector)  # within its preprocessing
        longest[type(inner)] = max(longest.get(type(inner), 0), getattr(inner, "k", 0))
    token = _SCOPE.set(_Scope(longest))
    try:
        yield
    finally:
        _SCOPE.reset(token)


def once(compute: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """compute(*arguments, **options), or what a call with the same objects gave earlier in this scope."""
    scope = _SCOPE.get()
    if scope is None:
        return compute(*arguments, **options)
    key = (compute, *map(id, arguments), *sorted(options.items()))
    if key not in scope.results:
        scope.results[key] = (compute(*arguments, **options), arguments)
    result: T = scope.results[key][0]
    return result


def longest_list(detector: Any, k: int, rows: int) -> int:
    """Length, from k to `rows`, that serves all detectors of this one's kind that look up neighbours in this scope."""
    scope = _SCOPE.get()
    return k if scope is None else min(max(k, scope.longest.get(type(detector), 0)), max(rows, k))
