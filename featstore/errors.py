"""The errors that a user can see, with the exit code of the command.

AsdError            1  base class of the errors below
  DataError         1  unusable recordings, manifests or score files
  StoreError        4  a locked, damaged or malicious store
    RequestError    1  a request that does not fit the store or the command
  ResourceError     5  out of disk or memory
  OptionError       2  options of a command that do not go together
  IncompleteError   3  a result that would lack clips without a score

Codes without an error: 3 recordings were rejected or have no score, 6 a clip was reported with `--fail-on-anomaly`,
130 interrupted, 143 stopped by SIGTERM (featstore/console.py).
"""

import traceback
from collections.abc import Sequence


def place_of(error: BaseException) -> str:
    """File and line where an error was raised, for errors in code of one's own that are reported as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "unknown place"


def reason_of(error: BaseException) -> str:
    """Why something failed, in words: of an error of the system without its number and the path, which the line has."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


class AsdError(Exception):
    """Base of all errors that are printed as one line instead of a traceback.

    details: further lines that are printed below it, such as one for each bad line of a file.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.details])

    @property
    def lines(self) -> tuple[str, ...]:
        """The message and the details; a name in them may hold a line break, so `str` cannot be cut into them."""
        return (super().__str__(), *self.details)


class DataError(AsdError):
    """Raised when recordings, manifests or score files cannot be used."""


class StoreError(AsdError):
    """Raised when a feature store is locked, damaged or malicious."""

    exit_code = 4


class RequestError(StoreError):
    """Raised when the store is intact but a request does not fit it: an unknown name, or a name already in use."""

    exit_code = 1


class ResourceError(AsdError):
    """Raised when disk space or memory runs out; committed data is safe."""

    exit_code = 5


class OptionError(AsdError):
    """Raised when the options of a command contradict each other; reported with the command's usage."""

    exit_code = 2


class IncompleteError(AsdError):
    """Raised when a result would lack clips that have no score, and must not."""

    exit_code = 3


class RejectedAudio(AsdError):
    """Raised when a recording cannot be used; the message is the reason shown to the user."""
