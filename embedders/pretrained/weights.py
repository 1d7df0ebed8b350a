"""Where pretrained weights are: a local path, the models folder, the hub's cache, or the hub itself.

A name is looked for in this order, and the hub is never asked when HF_HUB_OFFLINE (or `--offline`) is set.
"""

import os
import re
from pathlib import Path

from embedders.pretrained.weight_files import NOT_WEIGHTS, SUFFIXES, first_line, weight_files
from featstore.errors import DataError

TRUE = {"1", "on", "yes", "true"}


def models_folder() -> Path:
    """Where checkpoints are kept for every project: FEATSTORE_MODELS, else ~/.cache/featstore/models."""
    return Path(os.environ.get("FEATSTORE_MODELS") or Path.home() / ".cache" / "featstore" / "models")


def offline() -> bool:
    """Whether the hub must not be asked (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in TRUE


def resolve(checkpoint: str, *, name: str, advice: str) -> Path:
    """File or folder of a checkpoint by path, name in the models folder or hub id.

    name: the embedder's. advice: where its weights can be had. DataError names every place that was looked at.
    """
    if not checkpoint:
        raise DataError(f"{name} needs weights: write {name}=PATH. {advice}")
    for path in (Path(checkpoint).expanduser(), models_folder() / checkpoint):
        if path.exists():
            return path
    looked = f"no file {checkpoint}, nothing at {models_folder() / checkpoint}"
    if not is_hub_id(checkpoint):
        raise DataError(f"{name}: {looked}. {advice}")
    cached = _from_hub_cache(checkpoint)
    if cached is not None:
        return cached
    if offline():
        raise DataError(
            f"{name}: {looked}, and {checkpoint} is not in the hub's cache; offline, so the hub was not asked. "
            f"On a machine with internet: featstore models pull {checkpoint}; then copy the folder it names to "
            f"{models_folder() / checkpoint}"
        )
    try:
        return pull(checkpoint)
    except DataError as error:
        raise DataError(f"{name}: {looked}. {error}. {advice}") from error


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/model, and is not that of a file."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None and not name.endswith(SUFFIXES)


def pull(repo: str) -> Path:
    """Fetch config and weights of a hub repository into the hub's cache: safetensors alone where there are any."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = [file.rfilename for file in HfApi().model_info(repo).siblings or []]
        suffix = next((s for s in SUFFIXES if any(n.endswith(s) and "/" not in n for n in names)), None)
        wanted = ["*.json", f"*{suffix}"] if suffix else []
        folder = Path(snapshot_download(repo, allow_patterns=wanted, ignore_patterns=["*/*"])) if suffix else None
    except Exception as error:  # the hub's library lets the errors of its HTTP client through, and has changed clients
        raise DataError(
            f"{repo}: not fetched from the hub ({first_line(error)}). Check the name and the connection, or copy the "
            f"model's folder to {models_folder() / repo}"
        ) from error
    if folder is None:
        raise DataError(f"{repo}: the repository holds no weights ({', '.join(SUFFIXES)})")
    return folder


def _from_hub_cache(repo: str) -> Path | None:
    """The cached snapshot of a repository, if weights are in it; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if weight_files(folder) else None


def hub_cache() -> list[tuple[str, int]]:
    """Models in the hub's cache: id and bytes."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted((repo.repo_id, repo.size_on_disk) for repo in repos if repo.repo_type == "model")


def models_in(folder: Path) -> dict[str, int]:
    """What can follow NAME= of a folder's content, files and folders of models, each with its bytes."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.name not in NOT_WEIGHTS)
    paths = dict.fromkeys(file.parent if (file.parent / "config.json").is_file() else file for file in found)
    sizes = {path: sum(file.stat().st_size for file in weight_files(path)) for path in paths if path.exists()}
    return {str(path.relative_to(folder)): n_bytes for path, n_bytes in sizes.items()}
