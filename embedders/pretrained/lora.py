"""Low-rank adaptation (Hu et al., ICLR 2022): train a small additive part of some weights, and fold it in afterwards.

The adapted weight is computed wherever the network reads it, so that it works in any attention, also in those that
never call their projections; once merged the network has the names and shapes of its checkpoint again.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

QUERY_AND_VALUE = ("q_proj", "v_proj")
"""What BEATs, wav2vec 2.0, HuBERT and WavLM call the projections that are usually adapted."""


class LowRank(nn.Module):
    """Adds scale * up @ down to a weight; zero at the start, since `up` is."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(rank, columns, device=weight.device, dtype=weight.dtype))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device, dtype=weight.dtype))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)  # as a linear layer's own weights
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Weight (rows, columns) to the adapted weight."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_lora(
    network: nn.Module, names: Sequence[str] = QUERY_AND_VALUE, *, rank: int = 64, alpha: float | None = None
) -> list[str]:
    """Freeze `network` and adapt every linear map of these names; the adapted ones, by their full names.

    alpha: strength, by default the rank (a scale of 1). Raises ValueError when a name fits none, with those there are.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    linear = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    chosen = {name: module for name, module in linear.items() if name.rpartition(".")[2] in names}
    for name in names:
        if not any(full.rpartition(".")[2] == name for full in chosen):
            known = sorted({full.rpartition(".")[2] for full in linear})
            raise ValueError(f"no linear map is called {name}; this network has {', '.join(known)}")
    if any(is_parametrized(module, "weight") for module in chosen.values()):
        raise ValueError("the network has adapters already; merge them first")
    network.requires_grad_(False)
    for module in chosen.values():
        register_parametrization(module, "weight", LowRank(module.weight, rank, rank if alpha is None else alpha))
        module.get_submodule("parametrizations.weight").get_parameter("original").requires_grad_(False)
    return list(chosen)


def lora_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """What is to be trained."""
    for module in network.modules():
        if isinstance(module, LowRank):
            yield from (module.down, module.up)


def merge_lora(network: nn.Module) -> None:
    """Fold every adapter into its weight: same outputs, names and shapes of the checkpoint, nothing trainable."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear) and is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight", leave_parametrized=True)
    network.requires_grad_(False)
