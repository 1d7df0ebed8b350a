"""`featstore simulate`, `download` and `scan`: where recordings come from, and what a folder of them is taken for."""

from pathlib import Path
from typing import Any

import click

from featstore.console import EXISTING, PATH, Command, Meter, echo, size, table
from featstore.terminal.shown import counted


@click.command(cls=Command)
@click.argument("out", type=PATH)
@click.option("--clips", default=1200, show_default=True, help="Recordings in all, train and test, over all machines.")
@click.option("--machines", help="Comma-separated; default all six.")
@click.option("--seed", default=0, show_default=True, help="Of the random draws.")
@click.option("--seconds", default=10.0, show_default=True, help="Length of a recording.")
@click.option("--sample-rate", "sample_rate_hz", default=16000, show_default=True, help="Hz.")
@click.option("--days", default=0, metavar="N", help="Recordings of N days; background and room change between them.")
@click.option("--microphones", type=click.IntRange(1, 2), default=1, show_default=True, help="2: a near and a far one.")
@click.option("--leak-db", type=float, help="Machine at the far microphone, relative to the near one  [default: -10]")
@click.option("--noise-sources", type=int, help="Noise sources, each at its own place.  [default: 2]")
@click.option("--diffuse", type=float, help="Share of the noise that differs at the two microphones.  [default: 0]")
@click.option("--moving", is_flag=True, default=None, help="The first noise source walks through the room.")
@click.option("--workers", type=click.IntRange(0), help="Processes; default one per core.")
def simulate(out: Path, machines: str | None, workers: int | None, microphones: int, **options: Any) -> None:
    """Write a simulated plant (six machines, graded faults, two domains) to OUT in the DCASE 2023 layout.

    With --microphones 2, channel 0 is a microphone near the machine and channel 1 one further away in the same room.
    The four options of two microphones need it. With --days, the last third of the days have test clips only.
    """
    from featstore.plant.pair import Pair, pair_of
    from featstore.plant.plan import Plant
    from featstore.plant.simulate import simulate

    chosen = {"machines": tuple(machines.split(","))} if machines else {}
    pair = pair_of(microphones, {name: options.pop(name) for name in Pair.__dataclass_fields__})
    with Meter("simulated clips") as meter:
        plant = Plant(**options, **chosen, pair=pair)  # type: ignore[arg-type]
        result = simulate(out, plant, workers=workers, progress=meter.update)
    echo(f"{out}: simulated plant of {counted(result.clips, 'recording')} ({result.rendered:,} made now)")


@click.command(cls=Command)
@click.argument("dataset", metavar="dcase2020..dcase2026")
@click.option("--dest", type=PATH, required=True, help="Folder to put dev_data and eval_data in.")
@click.option(
    "--set", "sets", multiple=True, type=click.Choice(["dev", "additional", "eval"]), help="Default: all three."
)
@click.option("--machine", "machines", multiple=True, help="Only this one; may be given several times.")
@click.option("--dry-run", is_flag=True, help="List what would be fetched; write nothing.")
def download(dataset: str, dest: Path, sets: tuple[str, ...], machines: tuple[str, ...], dry_run: bool) -> None:
    """Download a year's data to DEST; run it again to resume.

    \b
    featstore download dcase2025 --dest dcase2025 --dry-run             what there is, and how much
    featstore download dcase2023 --dest d --set dev --machine fan       one machine of the development set

    The files come from Zenodo, are checked by size and md5, and are unpacked to DEST/dev_data/raw and
    DEST/eval_data/raw, where `featstore build DEST STORE` finds them.
    """
    from featstore.exchange.download import SETS, download, find_parts

    parts = find_parts(dataset, sets or tuple(SETS), machines)
    if dry_run:
        rows = [[part.name, size(part.remote.size), str(part.folder(dest))] for part in parts]
        echo(table(["file", "size", "to"], rows))
        return
    with Meter("MB") as meter:
        files = download(parts, dest, lambda done, total: meter.update(done // 1_000_000, max(total // 1_000_000, 1)))
    echo(f"{dest}: {counted(files, 'file')} of {dataset}")


@click.command(cls=Command)
@click.argument("data", type=EXISTING)
@click.option("--layout", default="auto", show_default=True, help="Dataset layout, as for featstore build.")
@click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for evaluation clips.")
@click.option("--window", type=float, metavar="S", help="Count windows of S seconds, as for featstore build.")
@click.option("--hop", type=float, metavar="S", help="Seconds between starts of windows [default: half a window].")
def scan(data: Path, **options: Any) -> None:
    """Print the layout of DATA with its machines, sections, splits and labels; writes nothing.

    No sound is read; with --window, the length of every recording is.
    """
    from featstore.building.request import BuildRequest
    from featstore.layouts.recognise import find_clips, summary
    from featstore.layouts.windows import windows_of

    request = BuildRequest(data=data, store=data, **options)
    listing = find_clips(data, request.layout, ground_truth=request.ground_truth)
    clips = windows_of(listing.root, listing.clips, request.audio)
    echo(f"{data}: layout {listing.layout}, {counted(len(clips), 'clip')}")
    echo(summary(clips))
    for note in [*listing.notes, *listing.test_notes]:
        echo(f"note: {note}", err=True)
