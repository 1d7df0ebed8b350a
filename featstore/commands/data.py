"""`featstore simulate`, `download` and `scan`: where recordings come from, and what a folder of them is taken for."""

from pathlib import Path
from typing import Any

import click

from featstore.console import EXISTING, PATH, Command, Meter, echo, size, table, workers_option
from featstore.terminal.shown import counted


@click.command(cls=Command)
@click.argument("out", type=PATH)
@click.option(
    "--clips",
    type=int,
    help="Number of recordings of all machines, training and test.  [default: 1200; 2020: 500 per id]",
)
@click.option("--machines", help="Machine types, comma-separated.  [default: all six]")
@click.option("--seed", default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--seconds", default=10.0, show_default=True, help="Length of a recording in seconds.")
@click.option("--sample-rate", "sample_rate_hz", default=16000, show_default=True, help="Sample rate in Hz.")
@click.option(
    "--style",
    type=click.Choice(["dcase2020", "dcase2023"]),
    default="dcase2023",
    show_default=True,
    help="Several machines of every type, or one of each in two domains.",
)
@click.option("--ids", type=int, help="Style dcase2020: machines of every type.  [default: 7]")
@click.option("--days", type=int, metavar="N", help="Recordings of N days; background and room change between them.")
@click.option("--microphones", type=click.IntRange(1, 2), help="2: a near and a far one.  [default: 1]")
@click.option(
    "--leak-db", type=float, help="Level of the machine at the far microphone relative to the near one.  [default: -10]"
)
@click.option("--noise-sources", type=int, help="Noise sources, each at its own place.  [default: 2]")
@click.option("--diffuse", type=float, help="Share of the noise that differs at the two microphones.  [default: 0]")
@click.option("--moving", is_flag=True, default=None, help="The first noise source moves through the room.")
@workers_option
def simulate(out: Path, machines: str | None, workers: int | None, style: str, **options: Any) -> None:
    """Write a simulated plant (six machine types, graded faults) to OUT in the DCASE 2023 layout, with two domains.

    With --style dcase2020, there are several machines of every type, which differ slightly, and no domains. With
    --microphones 2, channel 0 is a microphone near the machine and channel 1 one further away in the same room. The
    options --leak-db, --noise-sources, --diffuse and --moving need it. With --days, the
    last third of the days have test clips only.
    """
    from featstore.plant.individuals.styles import STYLES
    from featstore.plant.simulate import simulate

    options["machines"] = tuple(machines.split(",")) if machines else None
    with Meter("simulated clips") as meter:
        parameters, way = STYLES[style]
        result = simulate(out, parameters(options), way, workers=workers, progress=meter.update)
    echo(f"{out}: simulated plant of {counted(result.clips, 'recording')} ({result.rendered:,} made now)")


@click.command(cls=Command)
@click.argument("dataset", metavar="dcase2020..dcase2026")
@click.option("--dest", type=PATH, required=True, help="Folder to put dev_data and eval_data in.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    type=click.Choice(["dev", "additional", "eval"]),
    help="Part of the data; may be given several times.  [default: all three]",
)
@click.option("--machine", "machines", multiple=True, help="Only this machine; may be given several times.")
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
