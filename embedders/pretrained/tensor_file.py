"""Tensors that other programs saved with torch.save, as NumPy arrays; nothing in a file is run."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedders.pretrained.weight_files import first_line, refuse_other_files
from featstore.errors import DataError

WHOLE = "tensor"
"""Name of the only tensor of a file without names."""


def read_arrays(path: Path, check_size: Callable[[int], None]) -> dict[str, np.ndarray]:
    """The tensors of a file and its lists of texts or numbers, by name; other plain values are left out.

    check_size: raises for a number of bytes that is too large for the file; called before they are allocated. DataError
    for a file with other objects, or none that torch can read.
    """
    refuse_other_files(path)
    check_size(_expanded(path))
    content = _loaded(path)
    named = content if isinstance(content, Mapping) else {WHOLE: content}
    arrays = {str(name): _array(value, check_size) for name, value in named.items()}
    found = {name: array for name, array in arrays.items() if array is not None}
    if not found:
        raise DataError(
            f"{path}: expected a tensor, or a dict of tensors and lists, got {type(content).__name__}; save it with "
            "torch.save({'embedding': embedding, 'path': paths}, file)"
        )
    return found


def _expanded(path: Path) -> int:
    """Bytes of all members of an archive, as they are declared; 0 for the older form, which is none."""
    try:
        if not zipfile.is_zipfile(path):
            return 0
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise DataError(f"{path}: damaged or incomplete ({first_line(error)})") from error


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: contains other objects than tensors and plain values (they can run code and are never loaded), "
            "or is damaged; save tensors and lists of text: torch.save({'embedding': embedding, 'path': paths}, file)"
        ) from error
    except Exception as error:  # damaged files raise errors of many types
        raise DataError(f"{path}: damaged or incomplete ({first_line(error)})") from error


def _array(value: Any, check_size: Callable[[int], None]) -> np.ndarray | None:
    """A tensor or a list as an array; None for other values."""
    if isinstance(value, torch.Tensor):
        return _numbers(value, check_size)
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        check_size(4 * len(value) * max(map(len, value)))
        return np.array(value, dtype=np.str_)
    if isinstance(value, list | tuple) and value and all(type(item) in (int, float, bool) for item in value):
        return np.array(value)
    return None


def _numbers(tensor: torch.Tensor, check_size: Callable[[int], None]) -> np.ndarray | None:
    """A dense tensor as an array; None for sparse and quantised ones, complex numbers, and tensors without memory."""
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not is_dense or tensor.is_complex():
        return None
    check_size(tensor.numel() * max(tensor.element_size(), 4))
    plain = tensor.detach()
    if plain.dtype not in (torch.float16, torch.float32, torch.float64) and plain.is_floating_point():
        plain = plain.float()
    array: np.ndarray = plain.contiguous().numpy()
    return array
