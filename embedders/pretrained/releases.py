"""Weights that are published as one file of a release: where it is, its checksum and licence, and its download."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embedders.pretrained.weights import models_folder
from featstore.exchange.fetch import Remote, fetch


@dataclass(frozen=True)
class Release:
    """A file of weights, its licence, and the figure that its authors published."""

    remote: Remote
    licence: str
    figure: str

    @property
    def file(self) -> str:
        """Name of the file, in the release and in the models folder."""
        return PurePosixPath(self.remote.url).name


RELEASES = {
    "mn04": Release(
        Remote(
            "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
            4_066_513,
            sha256="899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
        ),
        licence="MIT",
        figure="AudioSet mAP .432",
    )
}
"""Releases by the name of the embedder."""


def pull_release(name: str, report: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Fetch a release into the models folder and check its size and sha256; a right file there is kept.

    DataError for every failure of server or connection, and for another file of that name.
    """
    release = RELEASES[name]
    target = models_folder() / release.file
    fetch(release.remote, target, report)
    return target
