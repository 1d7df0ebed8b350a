"""Corrections between the layers of a frozen encoder: what the far channel says about the noise in the near one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class CrossAttention(nn.Module):
    """Multi-head attention from near tokens (queries) to far tokens (keys, values); its output is zero at first."""

    def __init__(self, dim: int, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.near_norm, self.far_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, width) for _ in range(3))
        self.out_proj = nn.Linear(width, dim)
        nn.init.zeros_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        """Correction (batch, token, dim) of near tokens (batch, token, dim) by far tokens (batch, any, dim)."""
        near, far = self.near_norm(near), self.far_norm(far)
        query, key, value = (self._heads(x) for x in (self.q_proj(near), self.k_proj(far), self.v_proj(far)))
        mixed = scaled_dot_product_attention(query, key, value)
        correction: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return correction

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)


LAYERS = ("layers", "layer")
"""Names of a list of transformer layers."""


def layers_of(network: nn.Module, n_layers: int) -> nn.ModuleList:
    """The transformer layers of a network, in order; ValueError if they are not found."""
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in LAYERS and len(module) == n_layers:
            return module
    raise ValueError(f"{type(network).__name__} has no list of {n_layers} transformer layers; use BEATs, or AST")


@contextmanager
def after_layers(layers: Iterable[nn.Module], change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Within the block, the output of layer i, tokens (batch, token, dim), is replaced by `change(i, output)`."""

    def hook(i: int) -> Callable[..., Any]:
        def changed(module: nn.Module, inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return change(i, output[0]), *output[1:]
            return change(i, output)

        return changed

    handles = [layer.register_forward_hook(hook(i)) for i, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
