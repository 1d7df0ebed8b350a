"""The gradient penalty of Wasserstein critics (Gulrajani et al., "Improved training of Wasserstein GANs", 2017)."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(judge: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor) -> Tensor:
    """Mean squared difference from 1 of the gradient norms of `judge` between real and generated examples.

    real, generated: (batch, ...), float32; judge: gives a score for each. Differentiable by the weights of the judge.
    """
    share = torch.rand(len(real), *(1,) * (real.ndim - 1), device=real.device)
    between = torch.lerp(generated, real, share).requires_grad_()
    (gradient,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
    excess: Tensor = gradient.flatten(1).norm(dim=1) - 1
    return excess.square().mean()
