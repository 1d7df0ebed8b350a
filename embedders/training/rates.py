"""Learning rates per parameter, warm-up, and models trained by several losses in turn."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

Turn = tuple[Callable[..., Tensor], list[nn.Parameter] | None]
"""A loss and the parameters it trains; None for all."""


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters grouped by `share`, a factor of the learning rate: 1 or the network's `rate_share(name)`."""
    share_of = getattr(model.network, "rate_share", lambda name: 1.0)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_network = name.removeprefix("network.")
            groups.setdefault(share_of(in_network) if in_network != name else 1.0, []).append(parameter)
    return [{"params": parameters, "share": share} for share, parameters in groups.items()]


def warmup_factor(model: nn.Module, done: int) -> float:
    """Factor of the learning rate after `done` steps: rises linearly to 1 over the network's `warmup` steps, if any."""
    warmup = int(getattr(model.network, "warmup", 0))
    return min(1.0, (done + 1) / warmup) if warmup else 1.0


def turns(model: nn.Module) -> Sequence[Turn]:
    """Losses of one step, in order: those of the model's `turns()`, or else its objective."""
    model_turns = getattr(model, "turns", None)
    return model_turns() if model_turns else [(model.objective, None)]  # type: ignore[list-item, no-any-return]
