"""One line of an examination: what was looked at, what was found, and whether it is as it should be."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from featstore.errors import AsdError, reason_of

OK, NOTE, BROKEN = "ok", "note", "BROKEN"
"""As it should be; works, but worth reading; the base installation does not work so."""


@dataclass(frozen=True)
class Finding:
    """What was found of a thing. mend: a command or a sentence that mends it, empty where nothing needs to be done."""

    name: str
    text: str
    state: str = OK
    mend: str = ""

    def as_json(self) -> dict[str, str]:
        """The fields as JSON values."""
        return asdict(self)


def probed(name: str, probe: Callable[[], Finding], *, failed: str = NOTE) -> Finding:
    """The finding of a probe, or why there is none: a probe that fails does not end the examination.

    failed: the state then; a probe that only takes too long is a note.
    """
    try:
        return probe()
    except TimeoutError as error:
        return Finding(name, f"unknown: {reason_of(error)}", NOTE)
    except AsdError as error:
        return Finding(name, str(error), failed)
    except Exception as error:  # whatever a broken library raises
        return Finding(name, f"unknown: {type(error).__name__}: {reason_of(error)}", failed)
