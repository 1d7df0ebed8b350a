"""`featstore check`: how recordings were made, and which of them differ from the others of their section."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from featstore.commands.options import flags, listing_options, part_options, progress_of
from featstore.console import EXISTING, EXIT_REJECTED, OUT_FILE, Command, Meter, echo, note, table, workers_option
from featstore.errors import DataError, OptionError, StoreError
from featstore.terminal.shown import block, counted

if TYPE_CHECKING:
    from featstore.acquisition.outliers import Finding
    from featstore.acquisition.recordings import Recordings

SHOWN_REJECTIONS = 3
ALIKE = "the recordings of each section are alike"
OF_A_STORE = {"source", "csv_file"}


@click.command(cls=Command)
@click.argument("source", metavar="DATA|STORE", type=EXISTING)
@listing_options
@part_options
@workers_option
@click.option("--csv", "csv_file", type=OUT_FILE, help="CSV file to write: one row per clip with every number.")
@click.pass_context
def check(context: click.Context, /, source: Path, csv_file: Path | None, workers: int | None, **options: Any) -> None:
    """Print how the recordings of DATA, or of STORE, were made, and which differ from the others of their section.

    \b
    featstore check DATA         reads the recordings as `featstore build` does; makes no store
    featstore check STORE        from the facts in the store, without audio

    Clips are compared with the training clips of their machine and section, or with all its clips where there are no
    training clips. Named are another sample rate, bandwidth, length or number of channels, a level that differs by
    20 dB or more, clipping, DC offset, drop-outs, zeros, silence, copies, and files longer than their header says. The
    exit code is 3 where there are any, or where recordings were rejected.
    """
    from featstore.acquisition.outliers import findings_of
    from featstore.acquisition.recordings import of_store
    from featstore.acquisition.table import clips_csv
    from featstore.disk.files import write_checked
    from featstore.store import FeatureStore

    if csv_file and not csv_file.parent.is_dir():
        raise OptionError(f"--csv {csv_file}: no folder {csv_file.parent}; create it first")
    if (source / "manifest").is_dir() and (source / "shards").is_dir():
        given = [flag for name, flag in flags(context).items() if name not in OF_A_STORE]
        if given:
            raise OptionError(
                f"{given[0]} is for reading recordings; {source} is a store, whose facts are shown as they are"
            )
        recordings, notes = of_store(FeatureStore.open(source)), list[str]()
        findings = findings_of(recordings)
    else:
        recordings, findings, notes = _listened(source, workers, options)
    if csv_file:
        try:
            write_checked(csv_file, clips_csv(recordings, findings).encode("utf-8", "surrogateescape"))
        except StoreError as error:  # it is no part of a store
            raise DataError(str(error)) from error
        echo(f"wrote {csv_file}", err=True)
    _print(recordings, findings, [*notes, *_remarks(recordings)], source)
    raise SystemExit(EXIT_REJECTED if findings or recordings.rejected else 0)


def _listened(
    data: Path, workers: int | None, options: dict[str, Any]
) -> "tuple[Recordings, list[Finding], list[str]]":
    """The recordings of a folder, what would mislead, and notes on silent channels."""
    from featstore.acquisition.channels import channel_texts
    from featstore.acquisition.outliers import findings_of
    from featstore.acquisition.recordings import of_folder
    from featstore.building.request import BuildRequest
    from featstore.run import listed

    request = BuildRequest(data=data, store=data, anomalies="none", **options)
    root, clips = listed(request, note)
    with Meter() as meter:
        recordings = of_folder(root, clips, request.audio, workers=workers, report=progress_of(meter))
    findings = findings_of(recordings)
    heard = channel_texts(root, recordings, findings)
    return recordings, findings, [f"{machine} {section}: {text}" for (machine, section), text in heard.items()]


def _not_measured(recordings: "Recordings") -> int:
    """How many clips have no measured facts."""
    import numpy as np

    return int(np.isnan(recordings.facts["level_dbfs"]).sum())


def _remarks(recordings: "Recordings") -> list[str]:
    """Notes on clips without measured facts, and on what was unusual about the files but misleads nobody."""
    from featstore.audio.outcomes import PADDED, UNKNOWN, Outcomes, add_outcome, outcome_notes

    outcomes: Outcomes = {}
    clips = recordings.clips
    for path, recording, outcome in zip(
        clips.keys(), clips.recordings(), recordings.facts["outcome"].tolist(), strict=True
    ):
        add_outcome(outcomes, outcome.decode(), path, recording)
    notes = outcome_notes({name: list(outcomes.get(name, ())) for name in (UNKNOWN, PADDED)})
    unknown = _not_measured(recordings)
    if unknown:
        notes.append(
            f"{unknown:,} of {len(recordings):,} clips have no measured facts, because they were imported or built by "
            "an earlier version; featstore check DATA measures recordings"
        )
    return notes


def _print(recordings: "Recordings", findings: "list[Finding]", notes: list[str], source: Path) -> None:
    """The tables and the last line on stdout, notes on stderr."""
    from featstore.acquisition.table import outliers_text, sections_text, verdict

    echo(sections_text(recordings, findings))
    if findings:
        echo(block("", outliers_text(recordings, findings)))
    if recordings.rejected:
        shown = [[item.path, item.reason] for item in recordings.rejected[:SHOWN_REJECTIONS]]
        more = len(recordings.rejected) - SHOWN_REJECTIONS
        rows = [*shown, *([[f"and {more:,} more", ""]] if more > 0 else [])]
        echo(block("", table(["rejected", "reason"], rows)))
    for text in notes:
        note(f"note: {text}")
    where = quote(str(source))
    number = counted(len(recordings.rejected), "recording was", "recordings were")
    rejected = f"; {number} rejected" if recordings.rejected else ""
    unknown = _not_measured(recordings)
    found = verdict(findings) if findings else ALIKE
    if unknown == len(recordings) and not findings:
        found = f"nothing is known of {counted(unknown, 'clip')}"
    elif unknown:
        found += f"; nothing is known of {unknown:,} of {len(recordings):,} clips"
    elif not findings and not rejected:
        found += "; no problem found"
    echo(block("", f"{where}: {found}{rejected}"))
