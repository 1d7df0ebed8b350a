"""Low-rank adaptation (Hu et al., ICLR 2022): train a low-rank term that is added to some weights.

The sum is computed whenever the weight is read, so it also works in attention that reads the weights of its projections
without calling them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

QUERY_AND_VALUE = ("q_proj", "v_proj")
"""Names of the query and value projections in BEATs, wav2vec 2.0, HuBERT and WavLM."""


class LowRank(nn.Module):
    """Adds scale * up @ down to a weight; the term is zero at first, because `up` is."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.down = nn.Parameter(torch.empty(rank, columns, device=weight.device, dtype=weight.dtype))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device, dtype=weight.dtype))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)  # the default of linear layers
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Weight (rows, columns), or (rows, columns, 1, 1) of a convolution, to the adapted weight."""
        adapted = torch.addmm(weight.flatten(1), self.up, self.down, alpha=self.scale)
        return adapted.view(weight.shape)


def is_pointwise(module: nn.Module) -> bool:
    """Whether a module is a convolution of kernel 1 over all channels: a linear layer at every place."""
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1


def add_lora(
    network: nn.Module, names: Sequence[str] = QUERY_AND_VALUE, *, rank: int = 64, alpha: float | None = None
) -> list[str]:
    """Freeze `network` and add adapters to every linear layer of these names; returns their full names.

    names: full names or their last parts, of linear layers and pointwise convolutions. rank: at most the smaller side
    of each weight is used. alpha: the term is scaled by alpha / rank; by default alpha is the rank. ValueError if no
    layer has one of the names.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    linear = {name: module for name, module in network.named_modules() if _is_adaptable(module)}
    chosen = {name: module for name, module in linear.items() if {name, name.rpartition(".")[2]} & set(names)}
    for name in names:
        if not any(name in (full, full.rpartition(".")[2]) for full in chosen):
            known = sorted({full.rpartition(".")[2] for full in linear})
            raise ValueError(f"no linear layer is called {name}; choose from {', '.join(known)}")
    if any(is_parametrized(module, "weight") for module in chosen.values()):
        raise ValueError("the network already has adapters; load it again")
    network.requires_grad_(False)
    for module in chosen.values():
        weight = module.get_parameter("weight")
        used = min(rank, *weight.flatten(1).shape)
        register_parametrization(module, "weight", LowRank(weight, used, used if alpha is None else alpha))
        module.get_submodule("parametrizations.weight").get_parameter("original").requires_grad_(False)
    return list(chosen)


def _is_adaptable(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or is_pointwise(module)
