"""The embedders of a model: how each is created, with weights in the model or named by their SHA-256."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from featstore import registry
from featstore.building.default import spec_of
from featstore.building.make import made
from featstore.building.work import Embedder
from featstore.disk.files import read_regular
from featstore.disk.manifest import SHA256
from featstore.disk.sealed import matching, typed
from featstore.disk.shard import EmbeddingInfo
from featstore.errors import AsdError, DataError, reason_of
from featstore.spec import kinds_of, split_spec

CHECKPOINT = "checkpoint"
OFFLINE = "HF_HUB_OFFLINE"
"""Variable under which no embedder asks the hub."""

FILE_NAME = re.compile(r"(?!\.\.?$)[^/\\\x00-\x1f]{1,200}")
"""A file in a folder: no path, and no control character."""

MAX_WEIGHTS = 1 << 33
INSIDE = 1 << 29
"""Weights of up to this size are kept inside of a model unless asked otherwise."""


@dataclass(frozen=True)
class WeightFile:
    """A file of weights: its name, SHA-256, and the array of the model that holds it; "" where it is outside."""

    name: str
    sha256: str
    array: str = ""


@dataclass(frozen=True)
class Source:
    """How an embedder is created: its line of text without the path of its weights, and the weights.

    path: where the weights lay when the model was fitted. folder: whether they are the files of a folder.
    """

    spec: str
    path: str = ""
    folder: bool = False
    weights: tuple[WeightFile, ...] = ()

    def line(self, path: Path | None) -> str:
        """The line of text with the weights at `path`."""
        if path is None:
            return self.spec
        return f"{self.spec},{CHECKPOINT}={path}" if ":" in self.spec else f"{self.spec}={path}"

    def as_json(self) -> dict[str, Any]:
        """The fields, as JSON keeps them."""
        return {**vars(self), "weights": [vars(file) for file in self.weights]}

    @classmethod
    def from_json(cls, raw: Any) -> "Source":
        """Inverse of `as_json`; ValueError, KeyError or TypeError for anything else, and for a class of one's own."""
        spec, path, folder = typed(raw, "spec", str), typed(raw, "path", str), typed(raw, "folder", bool)
        name, pairs = split_spec(spec, "embedder", lambda text: registry.is_known("embedder", text))
        if not registry.is_known("embedder", name):
            raise ValueError(f"the embedder {name!r:.80} is neither of this project nor of an installed package")
        if CHECKPOINT in dict(pairs):
            raise ValueError(f"the embedder {spec!r:.80} reads weights that the model does not name by their SHA-256")
        files = [
            WeightFile(typed(each, "name", str), matching(each, "sha256", SHA256), typed(each, "array", str))
            for each in typed(raw, "weights", list)
        ]
        if not all(FILE_NAME.fullmatch(file.name) for file in files):
            raise ValueError("a file of weights has the name of a path")
        if len({file.name for file in files}) < len(files) or len({bool(file.array) for file in files}) > 1:
            raise ValueError("its weights are listed twice, or only in part inside of the model")
        if len(files) > 1 and not folder:
            raise ValueError("it has several files of weights, which are no folder")
        return cls(spec, path, folder, tuple(files))


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources by the name of their embedding, and the arrays (uint8) of the weights inside of the model."""

    by_name: Mapping[str, Source]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, infos: Mapping[str, EmbeddingInfo], specs: Sequence[str], *, inside: bool | None) -> "Sources":
        """Sources of embeddings from lines of text as of `featstore build -e`; without one, from the config alone.

        inside: keep the weights in the model, None for those of up to INSIDE bytes. DataError for an embedding that
        none of the lines makes, one that makes none of the embeddings, or one of `refuse_own_classes`.
        """
        by_name = {name: Source(spec) for name, info in infos.items() if (spec := spec_of(info))}
        arrays: dict[str, np.ndarray] = {}
        refuse_own_classes(specs)
        for spec in specs:
            name = _embedding_of(spec, infos)
            by_name[name], files = _source(name, spec, inside)
            arrays |= files
        missing = [name for name in infos if name not in by_name]
        if missing:
            refuse_own_classes(missing)
            raise DataError(
                f"{missing[0]}: its config alone does not make its embedder; give the -e that built it as --embedder"
                f"{_example(missing[0])}"
            )
        return cls({name: by_name[name] for name in infos}, arrays)

    def as_json(self) -> dict[str, Any]:
        """The sources by name, as JSON keeps them."""
        return {name: source.as_json() for name, source in self.by_name.items()}

    @classmethod
    def from_json(
        cls, raw: Mapping[str, Any], arrays: Mapping[str, np.ndarray], infos: Mapping[str, EmbeddingInfo]
    ) -> "Sources":
        """Inverse of `as_json` with the arrays of a model; ValueError, KeyError or TypeError for anything else."""
        by_name = {name: Source.from_json(raw[name]) for name in infos}
        used = [file.array for source in by_name.values() for file in source.weights if file.array]
        for name in used:
            if arrays[name].dtype != np.uint8 or arrays[name].ndim != 1:
                raise ValueError(f"the weights {name!r:.80} are no bytes")
        return cls(by_name, {name: arrays[name] for name in used})

    def lines(self, folder: Path) -> dict[str, str]:
        """Line of text of every embedder; weights inside of the model are written to `folder`.

        DataError for weights outside that are missing, or have another SHA-256.
        """
        lines = {}
        for number, (name, source) in enumerate(self.by_name.items()):
            place = None
            if source.weights and source.weights[0].array:
                place = folder / str(number)
                place.mkdir()
                for file in source.weights:
                    (place / file.name).write_bytes(self.arrays[file.array].tobytes())
                place = place if source.folder else place / source.weights[0].name
            elif source.weights:
                place = Path(source.path)
            for file in source.weights:
                _check_weights(name, place / file.name if source.folder else place, file)  # type: ignore[operator, arg-type]
            lines[name] = source.line(place)
        return lines


def refuse_own_classes(specs: Iterable[str]) -> None:
    """DataError for a line of text, or name of an embedding, that is a class of one's own."""
    for text in specs:
        if registry.names_class("embedder", text):
            raise DataError(
                f"{text}: a model runs only embedders of this project and of installed packages, never a class of a "
                "module, so `detect score` could not load it; put the class into a package with an entry point "
                f"{registry.KINDS['embedder'].group}, or score with `featstore build` and `detect run`"
            )


def _example(name: str) -> str:
    """An example of a line with weights; "" for an embedder that takes none, or that is not known."""
    head = name.partition(":")[0]
    known = registry.is_known("embedder", head) and CHECKPOINT in kinds_of(registry.find("embedder", head))
    return f", for example --embedder {head}=WEIGHTS" if known else ""


def _embedding_of(spec: str, infos: Mapping[str, EmbeddingInfo]) -> str:
    """The name of the embedding that a line of text makes."""
    embedder: Embedder = embedder_of(spec)
    for name, info in infos.items():
        if info.fingerprint == embedder.fingerprint:
            return name
    known = ", ".join(f"{name} ({info.fingerprint[:12]})" for name, info in infos.items())
    raise DataError(
        f"--embedder {spec}: it has the fingerprint {embedder.fingerprint[:12]}, the recipe needs {known}; give "
        "the line and the weights that built the store"
    )


def embedder_of(spec: str, device: str = "cpu") -> Embedder:
    """The embedder of a line of text; DataError says why it cannot be created."""
    embedder: Embedder = made(spec, partial(registry.creator("embedder"), spec, device))
    return embedder


def _source(name: str, spec: str, inside: bool | None) -> tuple[Source, dict[str, np.ndarray]]:
    """Source of a line of text, and the weights inside of the model."""
    own, pairs = split_spec(spec, "embedder", lambda text: registry.is_known("embedder", text))
    path = Path(dict(pairs).get(CHECKPOINT, ""))
    rest = ",".join(f"{key}={text}" for key, text in pairs if key != CHECKPOINT)
    line = f"{own}:{rest}" if rest else own
    if not path.name:
        return Source(line), {}
    if not path.exists():
        raise DataError(f"--embedder {spec}: {path} is no file or folder here; a model needs weights that lie on disk")
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    contents = {file.name: read_regular(file.resolve(), MAX_WEIGHTS) for file in files}
    keep = sum(map(len, contents.values())) <= INSIDE if inside is None else inside
    arrays = {f"weights/{name}/{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(contents.values())}
    weights = tuple(
        WeightFile(file, hashlib.sha256(data).hexdigest(), array if keep else "")
        for (file, data), array in zip(contents.items(), arrays, strict=True)
    )
    return Source(line, str(path.resolve()), path.is_dir(), weights), arrays if keep else {}


def _check_weights(name: str, path: Path, file: WeightFile) -> None:
    try:
        digest = hashlib.sha256(read_regular(path, MAX_WEIGHTS)).hexdigest()
    except (OSError, AsdError) as error:
        reason = f"{path}: {reason_of(error)}" if isinstance(error, OSError) else reason_of(error)
        raise DataError(
            f"weights of {name}: {reason}; the model names them by their SHA-256 {file.sha256[:12]}"
        ) from error
    if digest != file.sha256:
        raise DataError(
            f"weights of {name}: {path} has SHA-256 {digest[:12]}, the model was fitted with {file.sha256[:12]}"
        )


@dataclass(frozen=True)
class Maker:
    """Makes the embedder of an embedding without a network; can be sent to worker processes.

    DataError where it cannot be made, or is not the one that the model was fitted with.
    """

    make: registry.Factory
    name: str
    fingerprint: str

    def __call__(self) -> Embedder:
        """The embedder."""
        with _offline():  # a file of weights may name others, which must not be fetched either
            embedder: Embedder = made(self.name, self.make)
            fingerprint = embedder.fingerprint
        if fingerprint != self.fingerprint:
            raise DataError(
                f"{self.name}: the embedder of this program has the fingerprint {fingerprint[:12]}, the model was "
                f"fitted with {self.fingerprint[:12]}; fit it again with `detect fit`"
            )
        return embedder


@contextmanager
def _offline() -> Iterator[None]:
    """No weights are fetched in the block."""
    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before
