"""What is wrong with the folder of a submitted system by the rules of its year: label, files, lines, metadata."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ensemble.submission.archive import REPORT
from ensemble.submission.check_lines import decision_problems, score_problems
from ensemble.submission.check_meta import meta_findings
from ensemble.submission.clips import EVALUATION, sections_of, submitted
from ensemble.submission.meta import meta_path
from ensemble.submission.package import DECISION, DEFAULT_LABEL, SCORE, TASK, file_rule, files_of, label_problem
from featstore.spec import did_you_mean
from featstore.table import ClipTable
from featstore.terminal.shown import counted

SHOWN = 3
"""Names in a message."""


@dataclass(frozen=True)
class Findings:
    """What breaks the rules, and what the authors should look at; each a sentence."""

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_submission(folder: Path, clips: ClipTable, year: int) -> Findings:
    """Every violation of the rules of `year` in the folder of a system.

    clips: all test recordings of the data; those of the evaluation data are expected. DataError where these do not fit
    the files of the year.
    """
    rule, expected = file_rule(year), submitted(clips)
    files = files_of(expected, rule)
    wanted = {f"{SCORE}{tail}": tail for tail in files}
    if rule.decisions:
        wanted |= {f"{DECISION}{tail}": tail for tail in files}
    problems = [*_place_problems(folder), *_section_problems(expected, year), *_name_problems(folder, wanted)]
    for name, tail in wanted.items():
        path = folder / name
        if path.is_file() and not path.is_symlink():
            check = score_problems if name.startswith(SCORE) else decision_problems
            problems += [f"{name}: {problem}" for problem in check(path, list(files[tail]))]
    about, notes = meta_findings(meta_path(folder), folder.name, year)
    problems += [f"meta.yaml: {problem}" for problem in about]
    return Findings(tuple(problems), tuple(f"meta.yaml: {text}" for text in notes))


def _place_problems(folder: Path) -> list[str]:
    """What is wrong with the label, and with the folder above."""
    label = label_problem(folder.name)
    problems = [label] if label else []
    if folder.name == DEFAULT_LABEL:
        problems.append("the label is still the default; give your own with --label of detect run")
    if folder.resolve().parent.name != TASK:
        problems.append(f"the folder of a system lies in a folder {TASK}, not in {folder.resolve().parent.name!r}")
    return problems


def _section_problems(clips: ClipTable, year: int) -> list[str]:
    """Machines and sections of the evaluation data that the clips lack, and those that are no part of it."""
    own, official = sections_of(clips), EVALUATION[year]
    missing, surplus = sorted(official - own), sorted(own - official)
    if own and not own & official:
        return [
            f"none of the machines and sections is in the evaluation data of {year}; expected "
            f"{_pairs(sorted(official))}, got {_pairs(surplus)}"
        ]
    problems = [f"the data lack {_pairs(missing)} of the evaluation data of {year}"] if missing else []
    return [*problems, *([f"not in the evaluation data of {year}: {_pairs(surplus)}"] if surplus else [])]


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    machines: dict[str, list[str]] = {}
    for machine, section in pairs:
        machines.setdefault(machine, []).append(section)
    return "; ".join(f"{machine} {', '.join(sections)}" for machine, sections in machines.items())


def _name_problems(folder: Path, wanted: Iterable[str]) -> list[str]:
    """Files that are missing, have another name, or are no plain files."""
    expected = {*wanted, meta_path(folder).name}
    present = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    missing = sorted(expected - present.keys() - {meta_path(folder).name})
    problems = [f"missing: {named(missing)}"] if missing else []
    for name, path in sorted(present.items()):
        if path.is_symlink() or not path.is_file():
            problems.append(f"{name}: not a plain file; a submission holds plain files only")
        elif name not in expected and not name.lower().endswith(REPORT):
            problems.append(f"{name}: not the name of a file of this submission{did_you_mean(name, missing)}")
    return problems


def named(names: Sequence[str]) -> str:
    """A number of names, and the first of them."""
    rest = len(names) - SHOWN
    shown = ", ".join(PurePosixPath(name).name for name in names[:SHOWN])
    return f"{counted(len(names), 'file')}, {shown}{f' and {rest:,} more' if rest > 0 else ''}"
