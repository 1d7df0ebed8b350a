"""Published systems: what trains, embeds and scores in each. `detect recipes` lists them.

`recipes/` holds one TOML file per system (`system.py` shows its form); a file like these anywhere defines another one.
"""

import shlex
from pathlib import Path

from ensemble.systems.lines import command_lines
from ensemble.systems.reading import read_system
from ensemble.systems.system import FOLDER, System
from featstore.errors import DataError
from featstore.spec import did_you_mean
from featstore.terminal.shown import Block, block

CHOSEN = "chosen by anomalies"
"""Stands for the detector of a system that has generated anomalies choose it."""


def names() -> list[str]:
    """Names of the included systems."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_system(name: str) -> System:
    """An included system by name, or one from a file; DataError suggests the nearest name and lists all."""
    path = FOLDER / f"{name}.toml"
    if path.exists():
        return read_system(path)
    if Path(name).is_file():
        return read_system(Path(name))
    raise DataError(
        f"{name!r} is neither a published system nor a file{did_you_mean(name, names())} (known: {', '.join(names())})"
    )


def systems_rows() -> list[list[str]]:
    """Name, year, embedder, loss, detector and short title of every included system, by year."""
    systems = sorted((find_system(name) for name in names()), key=lambda system: (system.published.year, system.name))
    return [
        [
            system.name,
            str(system.published.year),
            system.embedder,
            system.settings.get("loss", ""),
            CHOSEN if system.select else system.detector,
            system.title.partition(":")[0],
        ]
        for system in systems
    ]


def system_text(system: System) -> Block:
    """Title, reported metrics, differences from the publication, and the commands that run the system."""
    head = [system.title, f"published {system.published.year}: {system.published.figure} ({system.published.source})"]
    if system.differs:
        head.append(f"differs from the publication: {system.differs}")
    if system.select:
        head.append("STORE: take one of its own, because all generated anomalies of a store choose")
    if system.translator:
        head.append("FAULTS.csv: confirmed faults, with the columns clip,label (fault) and, optional, kind")
    return block(*head, "", *(shlex.join(line) for line in command_lines(system)))
