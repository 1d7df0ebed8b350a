"""How an embedder that fails is told: one line with the cause, whatever its code raises."""

from collections.abc import Callable
from typing import TypeVar

from featstore.errors import AsdError, DataError, ResourceError, place_of

T = TypeVar("T")

CODE_FAILS = (Exception, SystemExit)
"""What code of others may raise; an interruption by the user is not among it."""


def made(name: str, make: Callable[[], T]) -> T:
    """The embedder `name`; DataError says why it cannot be made, ResourceError that the memory ran out."""
    try:
        return make()
    except AsdError:
        raise
    except ValueError as error:  # of embedders of this project, written to be read
        raise DataError(f"embedder {name}: {error}") from error
    except CODE_FAILS as error:
        raise failure(f"embedder {name} cannot be made", error) from error


def failure(what: str, error: BaseException) -> AsdError:
    """The error that tells that `what` has happened because of another one."""
    if isinstance(error, AsdError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return ResourceError(f"{what}: out of memory; give fewer --workers, a smaller --batch or another --device")
    return DataError(f"{what}: {type(error).__name__}: {error} ({place_of(error)})")
