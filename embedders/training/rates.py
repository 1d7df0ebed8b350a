"""How parts of a model learn: shares of one rate, a warm-up, and losses in turn, where it asks for them."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

Turn = tuple[Callable[..., Tensor], list[nn.Parameter] | None]
"""A loss, and the parameters it moves; None for all."""


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters by their `share` of the learning rate; 1 unless the network's `rate_share(name)` differs."""
    share_of = getattr(model.network, "rate_share", lambda name: 1.0)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inner = name.removeprefix("network.")
            groups.setdefault(share_of(inner) if inner != name else 1.0, []).append(parameter)
    return [{"params": parameters, "share": share} for share, parameters in groups.items()]


def warmed(model: nn.Module, done: int) -> float:
    """Part of the rate after `done` steps: rises to 1 in a straight line over the network's `warmup` steps, if any."""
    warmup = int(getattr(model.network, "warmup", 0))
    return min(1.0, (done + 1) / warmup) if warmup else 1.0


def turns(model: nn.Module) -> Sequence[Turn]:
    """What one step learns from, in order: the model's objective, or the `turns()` of a model that has several."""
    own = getattr(model, "turns", None)
    return own() if own else [(model.objective, None)]  # type: ignore[list-item, no-any-return]
