"""Which test clips belong in a submission: those of the evaluation data, and what these consist of in every year."""

from pathlib import PurePosixPath

import numpy as np

from featstore.layouts.dcase import EVALUATION_MACHINES, YEARS
from featstore.table import ClipTable

STAGE = "eval_data"
"""Folder of the evaluation data in the layout of the challenge."""

DEFAULT_YEAR, ID_YEAR = 2023, 2020

Sections = frozenset[tuple[str, str]]
"""Pairs of machine and section, the section as its two digits."""


def _sections(machines: str | frozenset[str], numbers: str) -> Sections:
    names = machines.split() if isinstance(machines, str) else machines
    return frozenset((machine, number) for machine in names for number in numbers.split())


EVALUATION: dict[int, Sections] = {
    2020: _sections("fan pump slider valve", "01 03 05")
    | _sections("ToyCar", "05 06 07")
    | _sections("ToyConveyor", "04 05 06"),
    **{year: _sections(YEARS[f"dcase{year}"].machines, "03 04 05") for year in (2021, 2022)},
    **{int(year): _sections(machines, "00") for year, machines in EVALUATION_MACHINES.items()},
}
"""Machines and sections (2020: machine ids) of the evaluation data, by year."""


def section_number(section: str) -> str:
    """The digits of a section or machine id: 00 of section_00, id_00 and 00."""
    return section.removeprefix("section_").removeprefix("id_")


def sections_of(clips: ClipTable) -> Sections:
    """Machines and sections of clips."""
    return frozenset((machine, section_number(section)) for machine, section in clips.sections())


def is_evaluation(path: str) -> bool:
    """Whether a recording is below the folder of the evaluation data."""
    return STAGE in PurePosixPath(path).parts[:-1]


def submitted(clips: ClipTable) -> ClipTable:
    """The clips of the evaluation data; all clips where none is below `eval_data`."""
    mask = np.array([is_evaluation(path) for path in clips.recordings()], dtype=bool)
    return clips[mask] if mask.any() else clips


def package_year(clips: ClipTable) -> int:
    """The year where the user names none: 2020 for machine ids, else the one year whose evaluation data fit best.

    2023 where no year or several years fit, and for sections 03 to 05, which 2021 and 2022 share.
    """
    if all(section.startswith("id_") for section in clips.column("section").tolist()):
        return ID_YEAR
    own = sections_of(submitted(clips))
    shared = {int(year): len(own & EVALUATION[int(year)]) for year in EVALUATION_MACHINES}
    best = [year for year, number in shared.items() if number and number == max(shared.values())]
    return best[0] if len(best) == 1 else DEFAULT_YEAR
