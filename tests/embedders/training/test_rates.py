"""Shares of the learning rate and the warm-up, by hand, and in the optimizer of a training."""

import pytest
import torch
from torch import nn

from embedders.training.rates import parameter_groups, turns, warmed


class Network(nn.Module):
    """Two layers, of which the lower one learns at half the rate, and a frozen one."""

    warmup = 4

    def __init__(self):
        super().__init__()
        self.low, self.high, self.frozen = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1).requires_grad_(False)

    def rate_share(self, name):
        return 0.5 if name.startswith("low.") else 1.0


class Model(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.loss = network, nn.Linear(2, 2)


def test_groups_by_share_without_what_is_frozen():
    groups = {group["share"]: group["params"] for group in parameter_groups(Model(Network()))}
    assert {share: len(params) for share, params in groups.items()} == {0.5: 2, 1.0: 4}


def test_other_networks_keep_one_group_in_their_order():
    model = Model(nn.Linear(3, 1))
    (group,) = parameter_groups(model)
    assert group["share"] == 1.0
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_warm_up_rises_in_a_straight_line():
    assert [warmed(Model(Network()), done) for done in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warmed(Model(nn.Linear(1, 1)), 0) == 1


def test_the_optimizer_steps_by_share():
    """AdamW's first step is the rate itself, whatever the gradient."""
    model = Model(Network())
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=0.1, weight_decay=0.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * group["share"]
    before = [p.item() for p in (model.network.low.weight, model.network.high.weight)]
    (model.network.low(torch.ones(1)) + model.network.high(torch.ones(1))).sum().backward()
    optimizer.step()
    after = [p.item() for p in (model.network.low.weight, model.network.high.weight)]
    moved = [b - a for a, b in zip(after, before, strict=True)]
    assert moved == pytest.approx([0.05, 0.1], rel=1e-4)


def test_one_turn_moves_everything_unless_the_model_has_several():
    model = nn.Linear(1, 1)
    model.objective = abs
    assert turns(model) == [(abs, None)]
    model.turns = lambda: [(min, [model.bias]), (max, [model.weight])]
    assert turns(model) == [(min, [model.bias]), (max, [model.weight])]
