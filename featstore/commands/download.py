"""`featstore download`: the data of DCASE Task 2, from Zenodo."""

from pathlib import Path

import click

from featstore.console import Meter, size, table


@click.command()
@click.argument("dataset", metavar="dcase2020..dcase2026")
@click.option("--dest", type=click.Path(path_type=Path), required=True, help="Folder to put dev_data and eval_data in.")
@click.option(
    "--set", "sets", multiple=True, type=click.Choice(["dev", "additional", "eval"]), help="Default: all three."
)
@click.option("--machine", "machines", multiple=True, help="Only this one; may be given several times.")
@click.option("--dry-run", is_flag=True, help="List what would be fetched; write nothing.")
def download(dataset: str, dest: Path, sets: tuple[str, ...], machines: tuple[str, ...], dry_run: bool) -> None:
    """Fetch a year's data to DEST; run it again to go on where it stopped.

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
        click.echo(table(["file", "size", "to"], rows))
        return
    meter = Meter("MB")
    files = download(parts, dest, lambda done, total: meter.update(done // 1_000_000, max(total // 1_000_000, 1)))
    meter.close()
    click.echo(f"{dest}: {files:,} files of {dataset}")
