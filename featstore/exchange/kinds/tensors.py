"""Files of tensors: safetensors, which has no text that describes rows, and PyTorch."""

import math
from functools import partial
from typing import Any

import numpy as np

from featstore import registry
from featstore.errors import DataError, reason_of
from featstore.exchange.kinds.content import Content, Source, check_expanded
from featstore.exchange.kinds.named import Named, content_of

TYPES = {"F64": "f", "F32": "f", "F16": "f", "BF16": "f", "I64": "i", "I32": "i", "I16": "i", "I8": "i"}
TYPES |= {"U64": "u", "U32": "u", "U16": "u", "U8": "u", "BOOL": "b"}
"""Types of numbers -> letter of numpy."""

BF16 = "BF16"


def read_safetensors(source: Source) -> Content:
    """The embeddings among the tensors of a file; safetensors checks that its header fits its size."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(source.path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            arrays = {name: _named(source, file, name, part) for name, part in slices.items()}
            return content_of(source, arrays)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{source.path}: not a safetensors file, or a damaged one ({reason_of(error)})") from error


def _named(source: Source, file: Any, name: str, part: Any) -> Named:
    shape, kind = tuple(part.get_shape()), part.get_dtype()
    if kind not in TYPES:
        return Named(shape, "", partial(_refuse, source, name, kind))
    read = partial(_brain_floats, source, name, shape) if kind == BF16 else partial(file.get_tensor, name)
    return Named(shape, TYPES[kind], read)


def _refuse(source: Source, name: str, kind: str) -> np.ndarray:
    raise DataError(f"{source.path}: {name} has numbers of type {kind}; expected one of {', '.join(TYPES)}")


def _brain_floats(source: Source, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of 16 bits that are the upper half of a float32; NumPy has no such type."""
    import json

    with source.path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        start, _ = json.loads(file.read(size))[name]["data_offsets"]
        file.seek(8 + size + start)
        halves = np.fromfile(file, dtype="<u2", count=math.prod(shape))
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def read_torch(source: Source) -> Content:
    """The embeddings of a file of torch.save, by its reader that runs no code; lists of texts describe the rows."""
    try:
        read = registry.tensor_reader()
    except ImportError as error:
        raise DataError(f"{source.path}: needs PyTorch ({error}); or save the array with np.save") from error
    values = read(source.path, partial(check_expanded, source.path))
    return content_of(
        source,
        {name: Named(value.shape, value.dtype.kind, partial(np.asarray, value)) for name, value in values.items()},
    )
