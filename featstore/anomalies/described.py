"""A file of faults described in words: donors of the anomaly `described`.

    machine,fault
    fan,slight unbalance at 25 Hz
    pump,"cavitation, severe"
    ,impacts:per_second=12,resonance_hz=3200+leak:level_db=-6

`machine` may be empty: the fault is then made of every machine. A fault is words, which rules (`fault_words.py`) or a
language model (`embedders.pretrained.text_model`) read, or a chain as `chain.py` reads it. A text with one of `:=+` is
a chain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from featstore.anomalies.chain import STEPS, Chain
from featstore.anomalies.fault_words import HELP, read_words
from featstore.errors import DataError
from featstore.layouts.csv_text import csv_rows
from featstore.spec import did_you_mean
from featstore.terminal.shown import counted

HEADER = ("machine", "fault")
MAX_BYTES = 1 << 24
MOST = 10_000
SHOWN = 50
NAMED = 10
"""Most lines that a message names."""

CHAIN_MARKS = ":=+"

Reader = Callable[[str], Chain]
"""Reads the words of a fault; DataError where they mean nothing."""


@dataclass(frozen=True)
class Described:
    """One fault; machine: "" for every machine."""

    machine: str
    words: str
    chain: Chain


def read_fault(text: str, reader: Reader = read_words) -> Chain:
    """The chain of a fault, in words or as a chain."""
    if text.strip().lower() in STEPS:
        return Chain.parse(text)
    if not any(mark in text for mark in CHAIN_MARKS):
        return reader(text)
    try:
        return Chain.parse(text)
    except DataError as error:
        raise DataError(f"{error} (a text with one of {' '.join(CHAIN_MARKS)} is read as a chain)") from error


def read_described(path: Path, reader: Reader = read_words) -> list[Described]:
    """The faults of a file; DataError names the line whose fault s are not understood, up to ten."""
    rows = list(csv_rows(path, max_bytes=MAX_BYTES))
    if tuple(cell.strip().lower() for cell in rows[0][1]) != HEADER:
        raise DataError(f"{path}: the first line is {','.join(rows[0][1])!r:.80}; expected {','.join(HEADER)}")
    if not 1 < len(rows) <= MOST + 1:
        raise DataError(f"{path}: {len(rows) - 1:,} faults; expected 1 to {MOST:,}, one on each line")
    faults: dict[tuple[str, str], Described] = {}
    problems: list[str] = []
    for line, cells in rows[1:]:
        machine, words = cells[0].strip(), ",".join(cells[1:]).strip()
        try:
            fault = Described(machine, words, _understood(words, reader))
        except DataError as error:
            problems.append(f"line {line}: {error}")
        else:
            faults.setdefault((machine, str(fault.chain)), fault)
    if problems:
        raise DataError(f"{path}, {_listed(problems)}")
    return list(faults.values())


def _understood(words: str, reader: Reader) -> Chain:
    if not words:
        raise DataError("no fault; write machine,fault (the machine may be empty)")
    return read_fault(words, reader)


def _listed(problems: Sequence[str]) -> str:
    """The first problems as one line, with the help that several share at the end."""
    named = [problem.removesuffix(f"; {HELP}") for problem in problems[:NAMED]]
    rest = [f"and {counted(len(problems) - NAMED, 'more', 'more')}"] if len(problems) > NAMED else []
    shared = [HELP] if named != list(problems[:NAMED]) else []
    return "; ".join([*named, *rest, *shared])


def faults_of(path: Path, machines: Sequence[str], reader: Reader = read_words) -> list[Described]:
    """The faults of a file for these machines; DataError for machines that the data do not have."""
    faults = read_described(path, reader)
    problems = [
        f"{fault.words!r:.80} is for machine {fault.machine!r}{did_you_mean(fault.machine, machines)}"
        for fault in faults
        if fault.machine and fault.machine not in machines
    ]
    if problems:
        known = ", ".join(sorted(machines))
        raise DataError(f"{path}: {_listed(problems)}; the data have {known}; leave the machine empty for all machines")
    return faults


def chains_by_machine(faults: Sequence[Described]) -> dict[str, list[str]]:
    """Machine ("" for every machine) -> texts of its chains, for `variants_of`."""
    chains: dict[str, list[str]] = {}
    for fault in faults:
        chains.setdefault(fault.machine, []).append(str(fault.chain))
    return chains


def notes_of(faults: Sequence[Described]) -> list[str]:
    """What is generated for the words of the first faults."""
    lines = [
        f"{fault.machine or 'every machine'}: {fault.words!r} is generated as {fault.chain}" for fault in faults[:SHOWN]
    ]
    return [*lines, f"and {counted(len(faults) - SHOWN, 'more described fault')}"] if len(faults) > SHOWN else lines
