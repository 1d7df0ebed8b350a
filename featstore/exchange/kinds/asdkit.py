"""Extract files of ASDKit: .npz with absolute paths, integer sections and flags, and embeddings."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from featstore.clip import SPLITS, Clip, Split
from featstore.errors import DataError
from featstore.exchange.kinds.content import Content, Source, or_error
from featstore.exchange.kinds.named import Named, pick
from featstore.layouts.dcase_names import parse_section_name
from featstore.table import ClipTable

NPZ_ARRAYS = {"path", "section", "is_normal", "is_target"}
"""The arrays that identify an extract."""


def npz_content(source: Source, arrays: Mapping[str, Named]) -> Content:
    """The embeddings `embed`, or those named by the key, and the clips of an extract."""
    matrix = pick(source, arrays, source.key or "embed")
    return Content(matrix, or_error(lambda: _clips(source, arrays, len(matrix))))


def _clips(source: Source, arrays: Mapping[str, Named], n_rows: int) -> ClipTable:
    """Paths end in machine/split/name.wav, section and flags are integers."""
    lengths = {name: arrays[name].shape[:1] for name in sorted(NPZ_ARRAYS)}
    if set(lengths.values()) != {(n_rows,)}:
        raise DataError(f"{source.path}: {n_rows} embeddings, but ASDKit columns of other lengths: {lengths}")
    section, is_normal, is_target = (_integers(source, arrays, name) for name in ("section", "is_normal", "is_target"))
    clips = []
    for row, text in enumerate(_texts(source, arrays, "path")):
        parts = text.replace("\\", "/").split("/")[-3:]
        if len(parts) < 3 or parts[1] not in SPLITS:
            raise DataError(
                f"{source.path}: expected a path that ends in machine/split/name in row {row}, got {text!r}"
            )
        name = parse_section_name(parts[2].rpartition(".")[0])
        clips.append(
            Clip(
                path="/".join(parts),
                machine=parts[0],
                section=f"{section[row]:02d}",
                split=cast(Split, parts[1]),
                domain="target" if is_target[row] else "source",
                label="normal" if is_normal[row] else "anomaly",
                attributes=name.attributes if name else {},
            )
        )
    return ClipTable.from_clips(clips)


def _texts(source: Source, arrays: Mapping[str, Named], name: str) -> list[str]:
    if arrays[name].kind != "U":
        raise DataError(f"{source.path}: {name} is of type {arrays[name].kind!r}, expected text")
    return list(map(str, arrays[name].read().reshape(-1).tolist()))


def _integers(source: Source, arrays: Mapping[str, Named], name: str) -> list[int]:
    values: np.ndarray = arrays[name].read().reshape(-1)
    if values.dtype.kind not in "iub":
        raise DataError(f"{source.path}: {name} is {values.dtype}, expected integers")
    return list(map(int, values.tolist()))
