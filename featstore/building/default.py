"""What a build without -e takes from its store: the embedders that it holds, and its windows."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featstore import registry
from featstore.clip import Windows, windows_in
from featstore.errors import RequestError
from featstore.spec import spec_text

if TYPE_CHECKING:
    from featstore.disk.shard import EmbeddingInfo

DEFAULT = ("logmel", "twfr")
"""Embedders without weights: a new store gets them, and a stored one is made again from its recorded config."""


@dataclass(frozen=True)
class Chosen:
    """Name in the store -> line of text of its embedder, and notes on embeddings that cannot be made again."""

    specs: Mapping[str, str]
    notes: tuple[str, ...] = ()


def chosen(store: Path, held: Mapping[str, "EmbeddingInfo"]) -> Chosen:
    """The embedders of the embeddings that `store` holds, or the default ones where it holds none.

    Raises RequestError when it holds only embeddings that need weights, or were imported.
    """
    if not held:
        return Chosen({name: name for name in DEFAULT})
    specs = {name: spec for name, info in held.items() if (spec := spec_of(info))}
    others = [name for name in held if name not in specs]
    if not specs:
        raise RequestError(
            f"{store} holds {', '.join(others)}: no embedder that its config alone describes; "
            f"give the -e that made them{_example(others[0])}, or -e {' -e '.join(DEFAULT)} to add the default ones"
        )
    return Chosen(
        specs,
        tuple(
            f"{name} stays as it is, because its config alone does not make its embedder; give the -e that made it"
            f"{_example(name)} to embed new recordings with it"
            for name in others
        ),
    )


def spec_of(info: "EmbeddingInfo") -> str:
    """The line of text of the default embedder that made an embedding, with its parameters; "" where none did."""
    create = registry.creator("embedder")
    for name in DEFAULT:
        fields = inspect.signature(registry.find("embedder", name)).parameters
        if not set(info.config) <= set(fields):
            continue
        params = {key: tuple(value) if isinstance(value, list) else value for key, value in info.config.items()}
        spec = spec_text(name, params, {key: field.default for key, field in fields.items()})
        try:
            if create(spec).fingerprint == info.fingerprint:
                return spec
        except ValueError:  # a config of another version
            continue
    return ""


def windows_held(held: Mapping[str, "EmbeddingInfo"]) -> Windows | None:
    """The windows of the embeddings `held`, if all built ones have the same; else None."""
    lengths = {info.length for info in held.values() if info.length}  # an imported embedding states none
    return windows_in(lengths.pop()) if len(lengths) == 1 else None


def _example(name: str) -> str:
    head = name.partition(":")[0]
    return f", such as -e {head}=CHECKPOINT" if registry.is_known("embedder", head) and head not in DEFAULT else ""
