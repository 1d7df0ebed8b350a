"""Self-attention of BEATs with a relative position bias, which each query scales by a gate.

Parameters have the names of the official checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

GATE_UNITS = 4  # each of the two gates is a sum of four outputs of a linear map


def position_buckets(n_tokens: int, n_buckets: int, max_distance: int) -> Tensor:
    """Bucket of every (query, key) pair by signed distance: int64 (token, token).

    One half of the buckets is for keys after the query, the other for the rest. In each half the first buckets hold one
    distance each (up to a quarter of n_buckets), the others grow with its logarithm; the last holds all distances of
    `max_distance` or more.
    """
    token = torch.arange(n_tokens)
    step = token[None, :] - token[:, None]
    half = n_buckets // 2
    exact = half // 2
    distance = step.abs()
    # float32 and this order of operations, as in training: rounding decides at the border of two buckets.
    log = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    far = (exact + log.long()).clamp(max=half - 1)
    return (step > 0) * half + torch.where(distance < exact, distance, far)


class Attention(nn.Module):
    """Multi-head attention; all layers share the table of position biases, which is an argument."""

    def __init__(self, dim: int, n_heads: int, bias_table: nn.Embedding | None, *, gated: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.relative_attention_bias = bias_table
        if gated:
            self.grep_linear = nn.Linear(dim // n_heads, 2 * GATE_UNITS)
            self.grep_a = nn.Parameter(torch.ones(1, n_heads, 1, 1))
        self.gated = gated

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Attend: tokens (batch, token, dim) and bias (head, token, token) to (batch, token, dim)."""
        query, key, value = (self._heads(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if bias is not None:
            bias = (self.gate(query) * bias if self.gated else bias.expand(len(x), -1, -1, -1)).to(query.dtype)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def gate(self, query: Tensor) -> Tensor:
        """Factor of the bias for each query: (batch, head, token, 1)."""
        sums = self.grep_linear(query).view(*query.shape[:-1], 2, GATE_UNITS).sum(-1)
        first, second = torch.sigmoid(sums).chunk(2, dim=-1)
        factor: Tensor = first * (second * self.grep_a - 1) + 2
        return factor

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1], self.n_heads, -1).transpose(1, 2)
