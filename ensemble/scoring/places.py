"""Which machine and section of a model a recording belongs to."""

import re
from collections.abc import Sequence

from featstore.errors import DataError
from featstore.spec import did_you_mean


def place_of(path: str, sections: Sequence[tuple[str, str]], machine: str = "", section: str = "") -> tuple[str, str]:
    """The only one of the sections that fits what is given, and else the names in the path.

    A machine fits where a folder of the path, or the file name up to a `_`, `-` or `.`, is its name. A section fits
    where a part of the path, or of the file name between these marks, is its name (`section_00`, `id_02` or `00`).
    DataError where none fits, or several.
    """
    fitting = [own for own in sections if machine in ("", own[0]) and section in ("", own[1])]
    if not fitting:
        raise DataError(_none(machine, section, sections))
    if len(fitting) == 1:
        return fitting[0]
    parts = path.replace("\\", "/").split("/")
    words = [*parts[:-1], *re.split(r"[-_.]", parts[-1])]
    named = [own for own in fitting if machine or own[0] in words] or fitting
    marks = {*words, *re.findall(r"(?:section|id)_[0-9]+", parts[-1])}
    narrowed = [own for own in named if section or {own[1], f"section_{own[1]}"} & marks]
    choices = narrowed if len(named) > 1 and narrowed else named
    if len(choices) == 1:
        return choices[0]
    text = ", ".join("/".join(own) for own in fitting[:10])
    name = f"{path}: " if path else ""
    raise DataError(f"{name}which machine and section? Give --machine and --section; the model knows {text}")


def _none(machine: str, section: str, sections: Sequence[tuple[str, str]]) -> str:
    texts = ["/".join(own) for own in sections]
    machines = sorted({own[0] for own in sections})
    if machine and machine not in machines:
        return (
            f"the model knows no machine {machine!r}; it knows {', '.join(machines)}{did_you_mean(machine, machines)}"
        )
    given = f"{machine or '*'}/{section or '*'}"
    return f"the model knows no section {given}; it knows {', '.join(texts[:10])}{did_you_mean(given, texts)}"
