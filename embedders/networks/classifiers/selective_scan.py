"""Selective state-space layer (Mamba): Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces".

The paper's kernel for accelerators is replaced by a loop over time with its own gradient. It keeps two arrays of all
states for the backward pass, where a loop under autograd keeps several for every step.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 4  # of the causal convolution, as published
SHORTEST, LONGEST = 1e-3, 0.1  # time steps at the start of a training, as published


class Recurrence(torch.autograd.Function):
    """h_t = a_t h_(t-1) + b_t, starting with h_0 = b_0, along the first axis of `a` and `b` of equal shapes."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """All h, in the shape of `b`."""
        h = b.clone()
        for t in range(1, len(h)):
            h[t].addcmul_(a[t], h[t - 1])
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of `a` and `b`; that of b_t is that of h_t plus a_(t+1) times that of b_(t+1)."""
        a, h = ctx.saved_tensors
        to_b = gradients[0].clone()
        for t in reversed(range(len(a) - 1)):
            to_b[t].addcmul_(a[t + 1], to_b[t + 1])
        return torch.cat([torch.zeros_like(a[:1]), to_b[1:] * h[:-1]]), to_b


def selective_scan(u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Outputs y_t = C_t h_t of the states h_t = exp(step_t A) h_(t-1) + step_t B_t u_t.

    u, step and y: (time, batch, channel). A: (channel, state), negative. B, C: (time, batch, state).
    """
    a = torch.exp(step[..., None] * A)
    b = (step * u)[..., None] * B[:, :, None]
    h: Tensor = Recurrence.apply(a, b)  # type: ignore[no-untyped-call]
    return (h @ C[..., None]).squeeze(-1)


class Mamba(nn.Module):
    """Residual layer over sequences (batch, time, width); an output depends on its own and earlier times only."""

    def __init__(self, width: int, state: int = 16, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * width, -(-width // 16)
        self.sizes = (rank, state, state)
        self.norm = nn.RMSNorm(width)
        self.input = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, KERNEL, padding=KERNEL - 1, groups=inner)
        self.select = nn.Linear(inner, sum(self.sizes), bias=False)
        self.step = nn.Linear(rank, inner)
        first = torch.exp(torch.empty(inner).uniform_(math.log(SHORTEST), math.log(LONGEST)))
        self.step.bias = nn.Parameter(first + torch.log(-torch.expm1(-first)))  # softplus of it is `first`
        self.log_decay = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.direct = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return sequences of the same shape."""
        content, gate = self.input(self.norm(x)).chunk(2, dim=-1)
        content = F.silu(self.conv(content.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        step, B, C = self.select(content).split(self.sizes, dim=-1)
        parts = (content, F.softplus(self.step(step)), B, C)
        with torch.autocast(x.device.type, enabled=False):  # products of many decays need float32
            u, step, B, C = (part.transpose(0, 1).float().contiguous() for part in parts)
            y = selective_scan(u, step, -self.log_decay.exp(), B, C).transpose(0, 1) + self.direct * content
        result: Tensor = x + self.output(y * F.silu(gate))
        return result
