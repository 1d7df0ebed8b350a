"""Search for pretrained weights: a local path, the models folder, the hub's cache, then the hub itself.

With HF_HUB_OFFLINE (or `--offline`) the hub is never asked.
"""

import os
import re
from pathlib import Path

from embedders.pretrained.weight_files import NOT_WEIGHTS, SUFFIXES, first_line, weight_files
from featstore.errors import DataError

TRUE = {"1", "on", "yes", "true"}


def models_folder() -> Path:
    """Folder of checkpoints: FEATSTORE_MODELS, or else ~/.cache/featstore/models."""
    return Path(os.environ.get("FEATSTORE_MODELS") or Path.home() / ".cache" / "featstore" / "models")


def offline() -> bool:
    """Whether the hub must not be asked (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in TRUE


def resolve(checkpoint: str, *, name: str, advice: str) -> Path:
    """File or folder of a checkpoint given by path, name in the models folder or hub id.

    name: of the embedder. advice: where to get its weights. DataError names all places that were searched.
    """
    if not checkpoint:
        raise DataError(f"{name} needs weights: write {name}=PATH. {advice}")
    for path in (Path(checkpoint).expanduser(), models_folder() / checkpoint):
        if path.exists():
            return path
    searched = f"no file {checkpoint}, nothing at {models_folder() / checkpoint}"
    if not is_hub_id(checkpoint):
        raise DataError(f"{name}: {searched}. {advice}")
    cached = _from_hub_cache(checkpoint)
    if cached is not None:
        return cached
    if offline():
        raise DataError(
            f"{name}: {searched}, and {checkpoint} is not in the hub's cache; the hub was not asked (offline). "
            f"On a machine with internet run `featstore models pull {checkpoint}` and copy the folder it prints to "
            f"{models_folder() / checkpoint}"
        )
    try:
        return pull(checkpoint)
    except DataError as error:
        raise DataError(f"{name}: {searched}. {error}. {advice}") from error


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/model and no suffix of a weight file."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None and not name.endswith(SUFFIXES)


def pull(repo: str) -> Path:
    """Fetch config and weights of a hub repository into the hub's cache; weights as safetensors if there are any."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = [file.rfilename for file in HfApi().model_info(repo).siblings or []]
        suffix = next((s for s in SUFFIXES if any(n.endswith(s) and "/" not in n for n in names)), None)
        patterns = ["*.json", f"*{suffix}"]
        folder = Path(snapshot_download(repo, allow_patterns=patterns, ignore_patterns=["*/*"])) if suffix else None
    except Exception as error:  # errors of the HTTP client, which differs between versions of the hub's library
        raise DataError(
            f"{repo}: could not be fetched from the hub ({first_line(error)}). Check name and connection, or copy the "
            f"model's folder to {models_folder() / repo}"
        ) from error
    if folder is None:
        raise DataError(f"{repo}: the repository has no weights ({', '.join(SUFFIXES)}); use another one")
    return folder


def _from_hub_cache(repo: str) -> Path | None:
    """Cached snapshot of a repository if it has weights; makes no request."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if weight_files(folder) else None


def hub_cache() -> list[tuple[str, int]]:
    """Models in the hub's cache: (id, bytes)."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted((repo.repo_id, repo.size_on_disk) for repo in repos if repo.repo_type == "model")


def models_in(folder: Path) -> dict[str, int]:
    """Models in a folder (files and folders, as written after NAME=) and their bytes."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.name not in NOT_WEIGHTS)
    paths = dict.fromkeys(file.parent if (file.parent / "config.json").is_file() else file for file in files)
    sizes = {path: sum(file.stat().st_size for file in weight_files(path)) for path in paths if path.exists()}
    return {str(path.relative_to(folder)): n_bytes for path, n_bytes in sizes.items()}
