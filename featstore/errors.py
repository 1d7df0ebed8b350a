"""The errors a user can meet, each with the exit code its command ends with.

AsdError            1  anything below, and every other clear refusal
  DataError         1  recordings, manifests or score files that cannot be used
  StoreError        4  a store that is locked, damaged or hostile
    RequestError    1  a sound store that lacks, or already holds, what was asked of it
  ResourceError     5  out of disk or memory
  OptionError       2  options of a command that do not go together
"""


class AsdError(Exception):
    """Base of every error that is reported as one line instead of a traceback."""

    exit_code = 1


class DataError(AsdError):
    """Raised when recordings, manifests or score files are not what the command needs."""


class StoreError(AsdError):
    """Raised when a feature store is locked, damaged, hostile, or lacks what was asked of it."""

    exit_code = 4


class RequestError(StoreError):
    """Raised when a store is sound but lacks, or already holds otherwise, what was asked of it."""

    exit_code = 1


class ResourceError(AsdError):
    """Raised when disk space or memory runs out; nothing committed is lost."""

    exit_code = 5


class OptionError(AsdError):
    """Raised when the options of a command contradict each other; reported with the command's usage."""

    exit_code = 2
