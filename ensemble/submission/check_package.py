"""What is wrong with a submission: with one system, or with all systems of a package and their number together."""

from pathlib import Path

from ensemble.submission.archive import REPORT, is_current, systems_of, team_of, zip_team
from ensemble.submission.check import Findings, check_submission
from ensemble.submission.clips import package_year
from ensemble.submission.fill import expected_clips
from ensemble.submission.package import TASK
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.terminal.shown import Block, block, counted

TOGETHER = "all systems"
"""Heads what is wrong with the systems together."""


def check_package(folder: Path, path: Path, year: int | None, *, packing: bool = False) -> dict[str, Findings]:
    """Findings by system, in a folder that holds task2, in task2, or in the folder of one system; then of all together.

    path: the store of the data. packing: the zip will be written anew, so its age does not matter. DataError where the
    folder holds no system.
    """
    store = FeatureStore.open(path)
    clips = expected_clips(store)
    year = year or package_year(clips)
    systems = systems_in(folder)
    findings = {system.name: check_submission(system, clips, year) for system in systems}
    task = systems[0].parent
    problems, notes = team_problems(systems_of(task)), []
    if not any(name.suffix.lower() == REPORT for name in [*task.glob("*"), *task.glob("*/*")]):
        notes.append(f"no technical report ({REPORT}) in {task}; the challenge asks for one in the package")
    notes += [] if packing else _old_zips(task)
    return {**findings, TOGETHER: Findings(tuple(problems), tuple(notes))}


def _old_zips(task: Path) -> list[str]:
    """A note on every zip of a team that holds other files than the folders."""
    if task.resolve().name != TASK:
        return []
    root = task.resolve().parent
    teams = sorted({team_of(system.name) for system in systems_of(task)} - {""})
    return [
        f"{team}.zip holds other files than {TASK}; --zip packs again" for team in teams if not is_current(root, team)
    ]


def team_problems(folders: list[Path]) -> list[str]:
    """What is wrong with the systems of a folder task2 together."""
    teams = sorted({team_of(folder.name) for folder in folders} - {""})
    if len(teams) < 2:
        return []
    return [f"{TASK} holds systems of {len(teams)} teams, {', '.join(teams)}: remove those that are not yours"]


def systems_in(folder: Path) -> list[Path]:
    """The folders of the systems; DataError where there is none."""
    task = folder if folder.name == TASK else folder / TASK
    systems = systems_of(task) if task.is_dir() else [folder if folder.name else folder.resolve()]
    if not any(path for system in systems for path in system.glob("*.csv")):
        raise DataError(
            f"{folder}: no system of a submission; expected a folder with {TASK}, as detect run --format dcase writes, "
            "or the folder of one system"
        )
    return systems


def pack_again(folder: Path) -> list[Path]:
    """Write the zips of the teams whose systems are checked; DataError outside a folder task2."""
    systems = systems_in(folder)
    task = systems[0].parent
    if task.resolve().name != TASK:
        raise DataError(f"{folder}: to be packed, the folder of a system must lie in a folder {TASK}")
    root = task.parent if task.name == TASK else task.resolve().parent
    return [zip_team(root, team) for team in sorted({team_of(system.name) for system in systems} - {""})]


def findings_text(findings: dict[str, Findings]) -> Block:
    """A line for each system, and below it what is wrong."""
    lines: list[str] = []
    for name, found in findings.items():
        if name != TOGETHER or found.problems or found.notes:
            state = counted(len(found.problems), "problem") if found.problems else "follows the rules"
            lines.append(f"{name}: {state}" if name != TOGETHER or found.problems else f"{name}:")
            lines += [f"  problem: {problem}" for problem in found.problems]
            lines += [f"  note: {text}" for text in found.notes]
    return block(*lines)
