"""Notes of a build and a detection: in which sections the scored clips were made differently from their bank."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from types import MappingProxyType

from featstore.acquisition.channels import Place, channel_texts
from featstore.acquisition.outliers import ACROSS, SILENT, Finding, Section, findings_of, sections_of
from featstore.acquisition.recordings import Recordings, of_store
from featstore.store import FeatureStore

MANY = 4
"""Sections with findings of the same kinds from which one note is for all of them."""

NAMED = 3


def section_notes(
    recordings: Recordings, store: str, *, copies: bool = True, heard: Mapping[Place, str] = MappingProxyType({})
) -> list[str]:
    """One note per section whose test clips differ from their bank, or one for many sections that differ alike.

    Where a section has no test clips, its clips are compared with each other. store: as a command line names it.
    copies: also test clips that are copies of training clips. heard: see `channel_texts`.
    """
    test = recordings.clips.where(split="test")
    sections = {
        (section.machine, section.section): replace(section, rows=section.rows[test[section.rows]])
        if section.trained
        else section
        for section in sections_of(recordings)
    }
    differing: dict[Place, list[Finding]] = {}
    for finding in findings_of(recordings, list(sections.values()), copies=copies):
        if finding.bank or finding.what in (SILENT, ACROSS):
            differing.setdefault((finding.machine, finding.section), []).append(finding)
    alike: dict[tuple[str, ...], list[Place]] = {}
    for place, findings in differing.items():
        alike.setdefault(tuple(finding.what for finding in findings), []).append(place)
    see, notes = f"; see featstore check {store}", []
    for places in alike.values():
        if len(places) < MANY:
            notes += [_of_section(sections[place], differing[place], heard.get(place, "")) + see for place in places]
        else:
            notes.append(_of_many([sections[place] for place in places], [differing[place] for place in places]) + see)
    return notes


def build_notes(data: Path, store: Path) -> list[str]:
    """`section_notes` on a store that was built from `data`, and which channel has sound where clips are silent."""
    recordings = of_store(FeatureStore.open(store))
    root = data if data.is_dir() else data.parent
    heard = channel_texts(root, recordings, findings_of(recordings, copies=False))
    return section_notes(recordings, quote(str(store)), heard=heard)


def _of_section(section: Section, findings: Sequence[Finding], heard: str) -> str:
    first, *others = findings
    noun = "test clips" if section.trained else "clips"
    parts = [f"{len(first.rows):,} of {len(section.rows):,} {noun} with {first.said}{_bracket(first, heard)}"]
    parts += [f"{len(finding.rows):,} with {finding.said}{_bracket(finding, heard)}" for finding in others]
    return f"{section.machine} {section.section}: {', '.join(parts)}"


def _bracket(finding: Finding, heard: str) -> str:
    """The values of the clips and the usual ones; of silent clips, where sound is."""
    bank = f"{'training clips' if finding.trained else 'the others'} {finding.bank}" if finding.bank else ""
    texts = [finding.span, bank, heard if finding.what == SILENT else ""]
    shown = "; ".join(filter(None, texts))
    return f" ({shown})" if shown else ""


def _of_many(sections: Sequence[Section], findings: Sequence[Sequence[Finding]]) -> str:
    names = [f"{section.machine} {section.section}" for section in sections]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    clips = len({row for of_section in findings for finding in of_section for row in finding.rows})
    kinds = ", ".join(finding.what for finding in findings[0])
    total = sum(len(section.rows) for section in sections)
    return f"{len(names)} sections ({', '.join(names[:NAMED])}{more}): {clips:,} of {total:,} clips differ in {kinds}"
