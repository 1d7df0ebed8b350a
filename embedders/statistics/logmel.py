"""`logmel`: statistics over time of the log-mel spectrogram, one view per statistic."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from embedders.spectrogram import sort_frames
from embedders.statistics.emphasis import EMPHASES
from embedders.statistics.pooled import PooledLogMel


def mean(S: Tensor) -> Tensor:
    """Mean over frames of (batch, frame, mel)."""
    return S.mean(dim=1)


def std(S: Tensor) -> Tensor:
    """Standard deviation over frames of (batch, frame, mel); 0 for a single frame."""
    # Two passes: exact for dB values, measured 10 x faster than torch.std over this axis.
    return (S - S.mean(dim=1, keepdim=True)).square_().mean(dim=1).sqrt_()


def delta(S: Tensor) -> Tensor:
    """Mean absolute change from frame to frame of (batch, frame, mel), in dB; 0 for a single frame."""
    return (S[:, 1:] - S[:, :-1]).abs_().sum(dim=1) / max(1, S.shape[1] - 1)


MOMENTS: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean, "std": std, "delta": delta}
"""Statistics that need no sorted frames."""

QUANTILES = {"min": 0.0, "p05": 0.05, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "max": 1.0}
"""Order statistics; all of them share one sort."""

STATISTICS = (*MOMENTS, *QUANTILES)
"""The default statistics."""

EMPHASIS = re.compile(rf"({'|'.join(EMPHASES)})(\d+(?:\.\d+)?)")
"""Further statistics: rdp4 is RDP with gamma 4, gem3 the generalised mean with p 3 (see `emphasis`)."""


def check_names(stats: tuple[str, ...]) -> None:
    """Refuse unknown or repeated names of statistics, and none at all, by ValueError."""
    named = [name for name in stats if not EMPHASIS.fullmatch(name)]
    if not stats or not set(named) <= set(STATISTICS) or len(set(stats)) < len(stats):
        raise ValueError(
            f"stats={';'.join(stats)}: expected distinct names from {', '.join(STATISTICS)}, or rdp and gem with their "
            "exponents, such as rdp4 and gem3"
        )
    for name in set(stats) - set(named):
        _emphasis(name)


def statistics(S: Tensor, names: tuple[str, ...]) -> Tensor:
    """Named statistics over frames: log-mel (batch, frame, mel) to (batch, len(names), mel)."""
    values = {name: MOMENTS[name](S) for name in names if name in MOMENTS}
    values |= {name: _emphasis(name)(S) for name in names if name not in STATISTICS}
    of_order = tuple(name for name in names if name in QUANTILES)
    if of_order:
        quantiles = sort_frames(S) @ _quantile_weights(of_order, S.shape[1]).to(S)
        values |= dict(zip(of_order, quantiles.unbind(-1), strict=True))
    return torch.stack([values[name] for name in names], dim=1)


@lru_cache(maxsize=16)
def _emphasis(name: str) -> Callable[[Tensor], Tensor]:
    """Pooling of (batch, frame, mel) by a name such as rdp4; ValueError for an exponent out of range."""
    kind, value = EMPHASIS.fullmatch(name).groups()  # type: ignore[union-attr]
    emphasis, exponent = EMPHASES[kind], float(value)
    emphasis.check(exponent, f"stats={name}")
    return lambda S: emphasis.pool(S, exponent)


@lru_cache(maxsize=16)
def _quantile_weights(names: tuple[str, ...], n_frames: int) -> Tensor:
    """Weights of the sorted frames (frame, len(names)), linear between neighbours like numpy's quantile."""
    position = torch.tensor([QUANTILES[name] for name in names], dtype=torch.float64) * (n_frames - 1)
    return (1 - (torch.arange(n_frames)[:, None] - position).abs()).clamp_(min=0)


@dataclass(frozen=True, kw_only=True)
class LogMel(PooledLogMel):
    """Embedder: log-mel statistics in dB, one view per name in `stats` (see STATISTICS and EMPHASIS)."""

    name: ClassVar[str] = "logmel"
    stats: tuple[str, ...] = STATISTICS

    def __post_init__(self) -> None:
        """Check the names of statistics."""
        super().__post_init__()
        check_names(self.stats)

    @property
    def pooled_views(self) -> tuple[str, ...]:
        """One view per statistic."""
        return self.stats

    def pool(self, S: Tensor) -> Tensor:
        """Log-mel (batch, frame, mel) to (batch, views, mel)."""
        return statistics(S, self.stats)
