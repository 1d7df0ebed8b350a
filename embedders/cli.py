"""`featstore models`: list, fetch, check and convert pretrained weights."""

import os
from pathlib import Path

import click

from featstore.console import Commands, size, table
from featstore.errors import AsdError, DataError

PATH = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)

KNOWN = [
    ["beats=BEATs_iter3.pt", "links at https://github.com/microsoft/unilm/tree/master/beats; no hub has the original"],
    ["wav2vec2=facebook/wav2vec2-base", "hub"],
    ["hubert=facebook/hubert-base-ls960", "hub"],
    ["wavlm=microsoft/wavlm-base", "hub"],
    ["ast=MIT/ast-finetuned-audioset-10-10-0.4593", "hub"],
    ["encoder=ID", "hub: any audio encoder that transformers knows"],
]
"""Lines of text for -e, and where their weights come from."""


def _go_offline(context: click.Context, option: click.Parameter, chosen: bool) -> None:
    if chosen:
        os.environ["HF_HUB_OFFLINE"] = "1"  # worker processes and the hub's own library read it too


offline_option = click.option(
    "--offline", is_flag=True, expose_value=False, callback=_go_offline, help="Never ask a hub (HF_HUB_OFFLINE=1)."
)


@click.group(cls=Commands)
def models() -> None:
    """List, fetch, check and convert the weights of pretrained encoders."""


@models.command(name="list")
def list_() -> None:
    """Weights on this machine (models folder and hub cache), and where to get others."""
    from embedders.weights import hub_cache, models_folder, weight_files

    folder = models_folder()
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    here = [file for path in found for file in weight_files(path) if file.suffix in (".safetensors", ".bin", ".pt")]
    rows = [[str(path.relative_to(folder)), size(path.stat().st_size), "models folder"] for path in here]
    rows += [[repo, size(n_bytes), "hub cache"] for repo, n_bytes in hub_cache()]
    click.echo(f"models folder: {folder} (FEATSTORE_MODELS changes it)", err=True)
    click.echo(table(["weights", "size", "in"], rows) if rows else "no weights on this machine yet")
    click.echo("\n" + table(["-e", "weights come from"], KNOWN), err=True)


@models.command()
@click.argument("model")
def pull(model: str) -> None:
    """Fetch the weights of MODEL, a hub id such as facebook/wav2vec2-base, for use without internet later."""
    from embedders import weights

    repo = model.rpartition("=")[2]
    if weights.offline():
        raise DataError(f"HF_HUB_OFFLINE is set, so {repo} was not fetched; unset it, or copy the folder by hand")
    folder = weights.pull(repo)
    click.echo(f"{folder}: {', '.join(file.name for file in weights.weight_files(folder))}")


@models.command()
@click.argument("spec")
@click.option("--sha256", "expected", help="Refuse weights of any other checksum (of their tensors).")
def check(spec: str, expected: str | None) -> None:
    """Load SPEC (NAME=CHECKPOINT, as after -e) strictly, embed a second of noise, print what it is."""
    import numpy as np

    from embedders import create

    try:
        embedder = create(spec)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    digest = embedder.config.get("weights_sha256")
    if digest is None:
        raise DataError(f"{spec}: {embedder.name} has no pretrained weights")
    if expected not in (None, digest):
        raise DataError(f"{spec}: the weights have sha256 {digest}, expected {expected}; fetch them again")
    noise = np.random.default_rng(0).normal(scale=0.1, size=(1, max(embedder.sample_rate_hz, embedder.min_samples)))
    if not np.isfinite(embedder.embed(noise.astype(np.float32))).all():
        raise DataError(f"{spec}: embeds noise to NaN or infinite values; the weights are damaged")
    shape = " x ".join(map(str, embedder.shape))
    click.echo(f"{spec}: loads strictly, {shape} values per recording, finite\nweights sha256 {digest}")


@models.command()
@click.argument("source", type=EXISTING)
@click.argument("target", type=PATH)
def convert(source: Path, target: Path) -> None:
    """Write the weights of SOURCE to TARGET (.safetensors, .pt or .bin); fingerprints stay the same."""
    from embedders.weights import read_all, write_checkpoint

    if target.exists():
        raise AsdError(f"{target}: exists and is not overwritten; take another name")
    checkpoint = read_all(source)
    write_checkpoint(target, checkpoint)
    if read_all(target).sha256() != checkpoint.sha256():
        target.unlink()
        raise AsdError(f"{target}: read back differently; nothing was kept")
    click.echo(f"{target}: {len(checkpoint.tensors):,} tensors, sha256 {checkpoint.sha256()}")
