"""Selective scan: by hand, against a plain loop and its gradient, causal."""

import math

import torch
from torch.nn import functional as F

from embedders.networks.classifiers.selective_scan import LONGEST, SHORTEST, Mamba, Recurrence, selective_scan


def plain_recurrence(a, b):
    """The same states by a loop under autograd."""
    h = [b[0]]
    for decay, new in zip(a[1:], b[1:], strict=True):
        h.append(decay * h[-1] + new)
    return torch.stack(h)


def test_a_step_of_half_life_by_hand():
    """One channel, one state: exp(-ln 2) halves the state, and each input of 1 adds ln 2."""
    half_life = math.log(2)
    ones = torch.ones(3, 1, 1)
    y = selective_scan(ones, half_life * ones, torch.tensor([[-1.0]]), ones, 2 * ones)
    torch.testing.assert_close(y.flatten(), 2 * half_life * torch.tensor([1, 1.5, 1.75]))


def test_a_step_of_zero_keeps_the_state_and_ignores_the_input():
    u = torch.tensor([3.0, 100.0, 2.0]).view(3, 1, 1)
    step = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    y = selective_scan(u, step, torch.tensor([[-0.5]]), torch.ones(3, 1, 1), torch.ones(3, 1, 1))
    assert y.flatten().tolist() == [3, 3, 3]


def test_states_and_channels_against_plain_sums():
    torch.manual_seed(0)
    time, batch, channel, state = 7, 2, 3, 4
    u, step = torch.randn(time, batch, channel), torch.rand(time, batch, channel)
    A, B, C = -torch.rand(channel, state), torch.randn(time, batch, state), torch.randn(time, batch, state)
    expected = torch.zeros(time, batch, channel)
    for t in range(time):  # without a recurrence: every earlier input decays over the steps after it
        for s in range(t + 1):
            decay = torch.exp(step[s + 1 : t + 1].sum(dim=0)[..., None] * A)
            expected[t] += ((step[s] * u[s])[..., None] * B[s][:, None] * decay * C[t][:, None]).sum(dim=-1)
    torch.testing.assert_close(selective_scan(u, step, A, B, C), expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_a_plain_loop():
    torch.manual_seed(0)
    a, b, weight = (torch.rand(5, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(Recurrence.apply, (a, b))
    ours = torch.autograd.grad((Recurrence.apply(a, b) * weight).sum(), (a, b))
    plain = torch.autograd.grad((plain_recurrence(a, b) * weight).sum(), (a, b), materialize_grads=True)
    torch.testing.assert_close(ours, plain)
    single = Recurrence.apply(a[:1], b[:1])
    torch.testing.assert_close(torch.autograd.grad(single.sum(), b)[0][0], torch.ones(2, 3, dtype=torch.float64))


def test_inputs_are_untouched():
    a, b = torch.rand(4, 2), torch.rand(4, 2)
    before = a.clone(), b.clone()
    Recurrence.apply(a, b)
    torch.testing.assert_close((a, b), before, rtol=0, atol=0)


def test_outputs_depend_on_earlier_times_only():
    torch.manual_seed(0)
    layer, x = Mamba(8, state=4), torch.randn(2, 10, 8)
    moved = x.clone()
    moved[:, 6] += 1
    difference = (layer(moved) - layer(x)).abs().amax(dim=(0, 2))
    assert difference[:6].max() == 0
    assert difference[6:].min() > 0


def test_time_steps_start_in_the_published_range():
    torch.manual_seed(0)
    steps = F.softplus(Mamba(64).step.bias)
    assert SHORTEST * 0.99 < steps.min() < 2 * SHORTEST
    assert LONGEST / 2 < steps.max() < LONGEST * 1.01


def test_half_precision_changes_little_and_gives_all_gradients():
    torch.manual_seed(0)
    layer, x = Mamba(8, state=4), torch.randn(2, 200, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    half.sum().backward()
    torch.testing.assert_close(half.float(), layer(x), rtol=0, atol=0.02)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())
