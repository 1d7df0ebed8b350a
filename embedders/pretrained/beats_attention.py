"""Self-attention of BEATs: heads whose logits carry a position bias that each query may turn up or down.

Names of parameters are those of the official checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

GATE_UNITS = 4  # each of the two gates is a sum of four outputs of one linear map


def position_buckets(n_tokens: int, n_buckets: int, max_distance: int) -> Tensor:
    """Bucket of every (query, key) pair by signed distance: int64 (token, token).

    Half of the buckets serves keys after the query. Of each half, the first half counts single steps and the rest grows
    with the logarithm of the distance; from `max_distance` on all share the last bucket.
    """
    token = torch.arange(n_tokens)
    step = token[None, :] - token[:, None]
    half = n_buckets // 2
    exact = half // 2
    distance = step.abs()
    # float32 and this order of operations, as in training: at a border of buckets the rounding decides.
    log = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    far = (exact + log.long()).clamp(max=half - 1)
    return (step > 0) * half + torch.where(distance < exact, distance, far)


class Attention(nn.Module):
    """Multi-head attention; the table of position biases is shared between layers and given in."""

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
        """Tokens (batch, token, dim) and bias (head, token, token) to (batch, token, dim)."""
        query, key, value = (self._heads(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if bias is not None:
            bias = (self.gate(query) * bias if self.gated else bias.expand(len(x), -1, -1, -1)).to(query.dtype)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def gate(self, query: Tensor) -> Tensor:
        """Factor of the bias for every query: (batch, head, token, 1)."""
        sums = self.grep_linear(query).view(*query.shape[:-1], 2, GATE_UNITS).sum(-1)
        first, second = torch.sigmoid(sums).chunk(2, dim=-1)
        factor: Tensor = first * (second * self.grep_a - 1) + 2
        return factor

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1], self.n_heads, -1).transpose(1, 2)
