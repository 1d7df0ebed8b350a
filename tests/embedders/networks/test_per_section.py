"""Networks conditioned on the section: wrong sections, the objective by hand, and `idcaf`."""

import pytest
import torch
from small_networks import small_model
from torch import nn

from embedders.networks.frames import SPREAD_DB, contexts, scaled
from embedders.networks.objectives.per_section import PerSection, chances_of, fixed_rivals
from embedders.networks.reconstruction.idcaf import IDCAFConfig, IDCAFNet

CLASSES = ("fan|00|v=1", "fan|00|v=2", "fan|01|", "fan|02|", "pump|00|")


class Fake(nn.Module):
    """The error of a clip is its value times its code; the penalty is the wrong error plus twice the own one."""

    code_size = 1

    class config:
        penalty = 10.0

    def forward(self, x, code):
        return x * code

    def repel(self, own, wrong):
        return (wrong + 2 * own)[:, 0]


def fake(classes=CLASSES):
    model = PerSection(Fake(), 1, classes, {})
    with torch.no_grad():
        model.codes.weight[:, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])[: len(model.codes.weight)]
    return model


def test_half_of_the_wrong_sections_are_of_the_same_machine_where_it_has_others():
    sections = ["fan|00", "fan|01", "pump|00", "valve|00"]
    third = pytest.approx(1 / 3)
    expected = [[0, 0.5, 0.25, 0.25], [0.5, 0, 0.25, 0.25], [third, third, 0, third], [third, third, third, 0]]
    assert chances_of(sections).tolist() == expected
    assert chances_of(sections[:2]).tolist() == [[0, 1], [1, 0]]
    assert chances_of(sections[:1]).tolist() == [[0]]


def test_wrong_sections_of_held_out_clips_are_of_both_kinds_in_turn():
    sections = ["fan|00", "fan|01", "pump|00", "valve|00"]
    assert fixed_rivals(sections).tolist() == [
        [1, 2, 1, 3, 1, 2, 1, 3],
        [0, 2, 0, 3, 0, 2, 0, 3],
        [3, 0, 1, 3, 0, 1, 3, 0],
        [0, 1, 2, 0, 1, 2, 0, 1],
    ]
    model = fake().eval()
    own = torch.zeros(9, dtype=torch.int64)  # fan 00: the others of the fan in turn, and between them the pump
    assert model.wrong(own).tolist() == [1, 3, 2, 3, 1, 3, 2, 3, 1]
    assert model.wrong(torch.tensor([1, 1, 2])).tolist() == [2, 3, 1]


def test_columns_are_minus_the_errors_of_sections():
    vectors = fake().eval().vectors((torch.tensor([[1.0], [-2.0]]),), "embedding")
    assert vectors.tolist() == [[-1, -2, -3, -4], [2, 4, 6, 8]]
    assert PerSection.columns(None, CLASSES, "embedding") == 4


def test_the_objective_by_hand():
    model = fake().eval()  # the wrong section follows from the place in the batch: the held-out loss has no chance
    x, first = torch.tensor([[1.0], [1.0], [2.0], [1.0]]), torch.tensor([0, 1, 3, 4])
    own, wrong = [1.0, 1.0, 6.0, 4.0], [2.0, 4.0, 4.0, 1.0]
    penalty = [w + 2 * o for o, w in zip(own, wrong, strict=True)]
    loss = model.objective((x,), None, first)
    assert float(loss.detach()) == pytest.approx(sum(own) / 4 + 10 * sum(penalty) / 4)


def test_wrong_sections_are_random_in_training_and_follow_the_seed():
    model = fake().train()
    own = torch.zeros(200, dtype=torch.int64)
    torch.manual_seed(3)
    drawn = model.wrong(own)
    assert set(drawn.tolist()) == {1, 2, 3}
    assert 30 < int(drawn.eq(1).sum()) < 75
    assert 75 < int(drawn.eq(3).sum()) < 125
    torch.manual_seed(3)
    torch.testing.assert_close(model.wrong(own), drawn)
    assert model.wrong(torch.full((50,), 3)).unique().tolist() == [0, 1, 2]


def test_a_single_section_has_no_penalty():
    model = fake(("fan|00|",)).train()
    assert float(model.objective((torch.tensor([[3.0]]),), None, torch.tensor([0])).detach()) == 3


def wrong_columns(model, n):
    """Sections whose training clips fit another section best, after a short training on their log-mels."""
    mean = -40 + 15 * torch.randn(n // 2, 16)  # of a machine
    own = mean.repeat_interleave(2, dim=0) + 4 * torch.randn(n, 16)
    first = torch.arange(n).repeat_interleave(8)
    S = own[first][:, :, None] + 3 * torch.randn(len(first), 16, 12)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    for _ in range(60):
        for batch in torch.randperm(len(S)).split(24):
            optimizer.zero_grad()
            model.objective((S[batch],), None, first[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        columns = model.eval().vectors((S,), "embedding")
    best = columns.view(n, 8, n).mean(dim=1).argmax(dim=1)
    return int(best.ne(torch.arange(n)).sum())


@pytest.mark.parametrize("machine_only", [False, True])
def test_the_own_column_fits_best_after_a_short_training(machine_only):
    sections = [f"{machine}|{section}|" for machine in "abcdef" for section in ("00", "01")]
    torch.manual_seed(1)
    model = PerSection(IDCAFNet(IDCAFConfig(n_mels=16, width=32)), 16, tuple(sections), {})
    if machine_only:  # wrong sections of the same machine alone leave the columns of other machines free
        model.chances.copy_(torch.eye(12).view(6, 2, 12).flip(1).view(12, 12))
    found = wrong_columns(model, 12)
    assert found > 0 if machine_only else found == 0


def test_size_of_idcaf():
    network = IDCAFNet(IDCAFConfig())
    width, size, code = 128, 640, 16
    encoder = size * width + 3 * width * width + width * code
    decoder = code * width + 3 * width * width + width * size
    biases_and_norms = 3 * (8 * width + code) + size
    by_hand = encoder + decoder + biases_and_norms
    assert sum(parameter.numel() for parameter in network.parameters()) == by_hand == 270_000
    assert network.code_size == 32


@pytest.mark.parametrize("seconds", [1, 3])
def test_errors_of_idcaf_by_hand(seconds):
    model = small_model("idcaf", constant=2.0)[2]
    network = model.network
    (S,) = network.front(0.1 * torch.randn(2, seconds * 16000))
    code = torch.randn(2, network.code_size)
    with torch.no_grad():
        errors = network(S, code)
        x = contexts(scaled(S), 5)[1].flatten(1)
        scale, shift = code[1].chunk(2)
        output = network.decoder((1 + scale) * network.encoder(x) + shift)
    expected = [((output - aim) * SPREAD_DB).square().mean() for aim in (x, 2.0)]
    torch.testing.assert_close(errors[1], torch.stack(expected), rtol=1e-4, atol=1e-3)
    assert network.repel(errors, errors + 1).tolist() == (errors[:, 1] + 1).tolist()


def test_wrong_configs_say_why():
    with pytest.raises(ValueError, match="penalty=-1: expected 0 or more"):
        IDCAFConfig(penalty=-1.0)
