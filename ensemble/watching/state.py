"""The state that follows from a journal: files that are done, runs of alarms, and messages still to be delivered.

Only records change the state, in the same way while watching and when a journal is read again. The records by `kind`:

| kind        | says                                                                                     |
|-------------|------------------------------------------------------------------------------------------|
| journal     | first of a segment; `format`                                                             |
| start       | a watch began: `folder`, and the `sinks` that it delivers to                             |
| file        | a version of a file: the reason `rejected`, or `verdicts`, the `events` (alarms begun or |
|             | ended) and the `runs` of its section afterwards                                          |
| end         | `events` and `runs` of a section where no clip came                                      |
| delivered   | `sink` is done with the messages `ids`; `outcomes` where it refused some                 |
| known       | a version of a file that is done: kept when a segment begins, or passed over at first    |
| runs        | the runs of a section, kept when a segment begins                                        |
| undelivered | messages that a sink has not received, kept when a segment begins                        |
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ensemble.watching.alarms import Message, Run
from ensemble.watching.whole import Version
from featstore.errors import StoreError

Record = dict[str, Any]

FORMAT = 1
CHECKPOINT = frozenset({"journal", "start", "known", "runs", "undelivered", "owed"})
"""Kinds of records at the beginning of a segment."""

STDOUT = "stdout"
"""The sink that receives every message of a record at once; the others receive alarms one by one."""


class Known(NamedTuple):
    """The newest version of a file that is done. number: 1 for the first version. gone: absent when a segment began."""

    version: Version
    number: int
    gone: bool = False


@dataclass
class State:
    """known: by path. runs: by machine and section. undelivered: messages by sink and the id that they travel under."""

    known: dict[str, Known] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)
    undelivered: dict[str, dict[str, list[Message]]] = field(default_factory=dict)
    started: bool = False
    folder: str = ""

    def apply(self, record: Record) -> None:
        """Apply one record. Raises KeyError, TypeError or ValueError for one that is not of this format."""
        _APPLY[record["kind"]](self, record)

    def forget(self, present: Container[str]) -> None:
        """Forget files that are absent for the second time; a folder may be unavailable for a while."""
        marked = {path: known._replace(gone=path not in present) for path, known in self.known.items()}
        self.known = {path: known for path, known in marked.items() if not (known.gone and self.known[path].gone)}

    def checkpoint(self) -> Iterator[Record]:
        """Records that restore this state."""
        yield {"kind": "journal", "format": FORMAT}
        if self.started:
            yield {"kind": "start", "folder": self.folder, "sinks": list(self.undelivered)}
        for path, known in self.known.items():
            yield known_record(path, known)
        for (machine, section), runs in self.runs.items():
            yield {"kind": "runs", "machine": machine, "section": section, "runs": [run.as_json() for run in runs]}
        for sink, packages in self.undelivered.items():
            for name, messages in packages.items():
                yield {"kind": "undelivered", "sink": sink, "id": name, "messages": messages}

    def number_after(self, path: str) -> int:
        """Number of the next version of a file."""
        return self.known[path].number + 1 if path in self.known else 1

    def _journal(self, record: Record) -> None:
        if record["format"] != FORMAT:
            raise StoreError(f"journal format {record['format']!r}, expected {FORMAT}; a newer version wrote it")

    def _start(self, record: Record) -> None:
        self.started, self.folder = True, record["folder"]
        self.undelivered = {sink: self.undelivered.get(sink, {}) for sink in record["sinks"]}

    def _file(self, record: Record) -> None:
        self._known(record)
        if "runs" in record:
            self._runs(record)
        self._owe(record)

    def _end(self, record: Record) -> None:
        self._runs(record)
        self._owe(record)

    def _known(self, record: Record) -> None:
        version = Version(record["size"], record["mtime_ns"])
        self.known[record["path"]] = Known(version, record["version"], record.get("gone", False))

    def _runs(self, record: Record) -> None:
        section = record["machine"], record["section"]
        self.runs[section] = [Run(**run) for run in record["runs"]]
        if not self.runs[section]:
            del self.runs[section]

    def _owe(self, record: Record) -> None:
        for sink, packages in self.undelivered.items():
            if sink == STDOUT:
                packages[record["id"]] = messages_of(record)
            else:
                packages.update({event["id"]: [event] for event in record["events"]})

    def _undelivered(self, record: Record) -> None:
        self.undelivered.setdefault(record["sink"], {})[record["id"]] = record["messages"]

    def _delivered(self, record: Record) -> None:
        packages = self.undelivered.get(record["sink"], {})
        for name in record["ids"]:
            packages.pop(name, None)


_APPLY: dict[str, Callable[[State, Record], None]] = {
    "journal": State._journal,
    "start": State._start,
    "file": State._file,
    "end": State._end,
    "delivered": State._delivered,
    "known": State._known,
    "runs": State._runs,
    "undelivered": State._undelivered,
    "owed": State._undelivered,  # its name in earlier journals
}


def known_record(path: str, known: Known) -> Record:
    """A file that is done, without its result."""
    return {"kind": "known", "path": path, **known.version._asdict(), "version": known.number, "gone": known.gone}


def messages_of(record: Record) -> list[Message]:
    """The messages of a record of a file or of the end of a run: results or the rejection, then events."""
    if record["kind"] != "file":
        return list(record["events"])
    head = {"time": record["time"], "file": record["path"], "version": record["version"]}
    if "rejected" in record:
        return [{"type": "rejected", "id": record["id"], **head, "reason": record["rejected"]}]
    results = [
        {"type": "result", "id": f"{record['id']}-{i}", **head, **verdict}
        for i, verdict in enumerate(record["verdicts"])
    ]
    return [*results, *record["events"]]
