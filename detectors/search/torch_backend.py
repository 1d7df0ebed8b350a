"""Float32 products by torch: tiles on the CPU, whole searches on a CUDA device if there is one."""

from contextlib import ExitStack

import numpy as np
import torch

COLUMNS = 2**16
"""Bank rows whose products with 1,024 queries are on the device at a time (256 MB)."""


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Write left @ right.T into out."""
    torch.mm(torch.from_numpy(left), torch.from_numpy(right).T, out=torch.from_numpy(out))


def single_threaded(stack: ExitStack) -> None:
    """Use one thread per product until the stack closes."""
    stack.callback(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(1)


def input_bits() -> int:
    """Bits to which torch rounds the factors of a float32 product, which the user of torch can lower."""
    return {"highest": 24, "high": 11, "medium": 8}[torch.get_float32_matmul_precision()]


class DeviceProducts:
    """The largest inner products of queries with a bank; the bank is copied to the device once."""

    max_k = 2048

    def __init__(self, bank: np.ndarray, device: str = "cuda") -> None:
        self._bank = torch.from_numpy(bank).to(device)
        allowed = torch.backends.cuda.matmul.allow_tf32
        self.input_bits = 11 if allowed else input_bits()

    def largest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (m, k), falling, and rows (m, k)."""
        left = torch.from_numpy(queries).to(self._bank.device)
        values = left.new_empty((len(left), 0))
        rows = torch.empty((len(left), 0), dtype=torch.int64, device=left.device)
        for start in range(0, len(self._bank), COLUMNS):
            products = left @ self._bank[start : start + COLUMNS].T
            top, at = torch.topk(products, min(k, products.shape[1]), dim=1)
            values, rows = torch.cat([values, top], dim=1), torch.cat([rows, at + start], dim=1)
            values, order = torch.topk(values, min(k, values.shape[1]), dim=1)
            rows = rows.gather(1, order)
        return values.cpu().numpy(), rows.cpu().numpy()


def on_device(bank: np.ndarray) -> DeviceProducts | None:
    """Search on the CUDA device, or None if there is none."""
    return DeviceProducts(bank) if torch.cuda.is_available() else None
