"""An examination as a person reads it."""

from featstore.console import table
from featstore.doctor.examine import Examination
from featstore.terminal.shown import Block, block

INSTALL = "pip install --upgrade featstore"


def screen(examined: Examination) -> Block:
    """Findings, libraries, extras, and what to do."""
    findings = [[finding.state, finding.name, finding.text] for finding in examined.findings]
    is_tested = any(item.tested for item in examined.libraries)  # a wheel does not know the tested versions
    libraries = [
        [
            item.name,
            item.installed or "none",
            item.least,
            *([item.tested or "?"] if is_tested else []),
            item.problem or "ok",
        ]
        for item in examined.libraries
    ]
    extras = [[extra.name, extra.text, extra.needed_for] for extra in examined.extras]
    parts = [table(["", "what", "found"], findings)]
    if libraries:
        header = ["library", "installed", "least", *(["tested"] if is_tested else []), "state"]
        parts += [block(""), table(header, libraries, text_columns=len(header))]
    if extras:
        parts += [block(""), table(["extra", "state", "needed for"], extras)]
    return block(*parts, "", *_advice(examined), *verdict(examined))


def _advice(examined: Examination) -> list[str]:
    """What mends or completes the installation, a line each."""
    mends = [f"{finding.name}: {finding.mend}" for finding in examined.findings if finding.mend]
    if any(library.problem for library in examined.libraries):
        mends.append(f"libraries: {INSTALL}")
    wanted = [f"{extra.mend:<34} for {extra.needed_for}" for extra in examined.extras if extra.mend]
    return [
        *(["To mend:"] if mends else []),
        *(f"  {line}" for line in mends),
        *(["To add what is missing:"] if wanted else []),
        *(f"  {line}" for line in wanted),
    ]


def verdict(examined: Examination) -> list[str]:
    """The last lines: whether the base installation works, and the store or folder that was named."""
    if not examined.broken:
        return ["The base installation works."]
    return ["What does not work:", *(f"  {what}" for what in examined.broken)]
