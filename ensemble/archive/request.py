"""An archive search as the command line states it, and the run from stores on disk to files on disk."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from detectors.search.quantised import bytes_per_row
from ensemble.archive.folder import claim, write_record, write_top
from ensemble.archive.interrupt import Interruption
from ensemble.archive.parts import Scored, Top, one_writer, remove_stale
from ensemble.archive.rows import Unit
from ensemble.archive.run import ArchiveJob, ArchiveRun, Resources
from ensemble.request import Say
from featstore.building.cores import cores
from featstore.building.memory import keep_freed_memory
from featstore.console import note, size
from featstore.errors import OptionError
from featstore.terminal.shown import counted


@dataclass(frozen=True, kw_only=True)
class ArchiveRequest:
    """The options of `detect archive` under the names of the command line; memory in bytes, per Ray worker.

    threads: None for the cores of this machine; of each Ray worker, 1.
    """

    reference: Path
    archive: Path
    out: Path
    threads: int | None = None
    embedding: str | None = None
    k: int = 1
    per: tuple[str, ...] = ("machine", "section")
    bank: str = "training"
    index: str | None = None
    probes: int | None = None
    top: int = 1000
    memory: int = 2 * 10**9
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for options that do not go together."""
        if self.engine == "local" and self.address is not None:
            raise OptionError("--address needs --engine ray")
        if self.probes and not self.index:
            raise OptionError("--probes needs --index")
        if self.index and self.engine == "ray":
            raise OptionError("--index runs in one process; it cannot be combined with --engine ray")

    def opened(self) -> ArchiveRun:
        """The run on its stores; raises what ArchiveRun raises."""
        job = ArchiveJob(
            str(self.reference.resolve()),
            str(self.archive.resolve()),
            self.embedding,
            self.k,
            self.per,
            self.bank,
            self.index or "",
            self.probes,
        )
        threads = self.threads or (1 if self.engine == "ray" else cores())  # Ray has a process per core
        return ArchiveRun(job, Resources(self.memory, threads))


@dataclass(frozen=True)
class ArchiveOutcome:
    """A finished run: its record (archive.json), the top clips, and how many files hold the scores."""

    summary: dict[str, Any]
    top: Top
    files: int


def search_archive(
    request: ArchiveRequest, *, say: Say = note, progress: Callable[[int, int], None] = lambda done, total: None
) -> ArchiveOutcome:
    """Score every clip of the archive; resumes, and refuses a folder that holds results of another job.

    say: gets notes (default: stderr). progress: gets how many clips are done, and of how many.
    """
    run = request.opened()
    out = request.out
    earlier = claim(out, run)
    keep_freed_memory()  # every unit asks for what the one before has freed
    started, top = monotonic(), Top(request.top)
    total = sum(unit.rows for unit in run.units)

    def done(unit: Unit, scored: Scored | None = None) -> None:
        top.take(out / unit.file, scored)
        stop.check()
        progress(top.clips, max(total, top.clips))

    with one_writer(out), Interruption(say) as stop:
        if request.engine == "ray":
            _score_on_cluster(request.address, run, out, done)
        else:
            run.score(run.units, out, done)
        remove_stale(out, run.units)
    estimates = {**earlier, **(run.indexes.estimates() if run.indexes else {})}  # measured here, and noted
    for text in run.notes:
        say(f"note: {text}")
    write_top(out, top, run.job.k)
    summary = {
        **asdict(run.job),
        "finished": True,
        "clips": top.clips,
        "unscored": top.unscored,
        "files": [unit.file for unit in run.units],
        "estimates": estimates,
        "seconds": round(monotonic() - started, 3),
    }
    write_record(out, summary)
    return ArchiveOutcome(summary, top, len(run.units))


def _score_on_cluster(address: str | None, run: ArchiveRun, out: Path, done: Callable[[Unit], None]) -> None:
    from ensemble.archive.on_ray import score_on_cluster
    from featstore.distributed.ray_cluster import cluster

    with cluster(address):
        score_on_cluster(run, out, done)


def plan_text(run: ArchiveRun) -> str:
    """What a run would read, in words."""
    reference, archive = run.reference, run.archive
    rows = sum(unit.rows for unit in run.units)
    stored = sum(entry.bytes for unit in run.units for entry in unit.entries)
    bank = reference.store.rows(reference.embedding)
    return (
        f"{rows:,} rows of {archive.d} dimensions ({size(stored)}) in {counted(len(run.units), 'unit')} against at "
        f"most {bank:,} rows of the reference ({size(bank * bytes_per_row(archive.d))} in memory)"
    )
