"""Shares of the learning rate and warm-up by hand, and their effect in an optimizer."""

import pytest
import torch
from torch import nn

from embedders.training.rates import parameter_groups, turns, warmup_factor


class Network(nn.Module):
    """A lower layer at half the learning rate, an upper layer and a frozen one."""

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


def test_groups_by_share_leave_out_frozen_parameters():
    groups = {group["share"]: group["params"] for group in parameter_groups(Model(Network()))}
    assert {share: len(params) for share, params in groups.items()} == {0.5: 2, 1.0: 4}


def test_other_networks_keep_one_group_in_their_order():
    model = Model(nn.Linear(3, 1))
    (group,) = parameter_groups(model)
    assert group["share"] == 1.0
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_warm_up_rises_linearly():
    assert [warmup_factor(Model(Network()), done) for done in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warmup_factor(Model(nn.Linear(1, 1)), 0) == 1


def test_the_optimizer_steps_by_share():
    """The first step of AdamW equals the learning rate, whatever the gradient."""
    model = Model(Network())
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=0.1, weight_decay=0.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * group["share"]
    before = [p.item() for p in (model.network.low.weight, model.network.high.weight)]
    (model.network.low(torch.ones(1)) + model.network.high(torch.ones(1))).sum().backward()
    optimizer.step()
    after = [p.item() for p in (model.network.low.weight, model.network.high.weight)]
    steps = [b - a for a, b in zip(after, before, strict=True)]
    assert steps == pytest.approx([0.05, 0.1], rel=1e-4)


def test_one_turn_trains_all_parameters_unless_the_model_has_several():
    model = nn.Linear(1, 1)
    model.objective = abs
    assert turns(model) == [(abs, None)]
    model.turns = lambda: [(min, [model.bias]), (max, [model.weight])]
    assert turns(model) == [(min, [model.bias]), (max, [model.weight])]
