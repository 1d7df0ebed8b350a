"""Reconstruction: published sizes, contexts and views by hand."""

import pytest
import torch
from small_networks import small_model

from embedders.networks.frames import LEVEL_DB
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.reconstruction.dense import AENet, FrameConfig, IDNNNet
from embedders.statistics.twfr import gwrp


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    assert n_parameters(AENet(FrameConfig())) == 267_928
    assert n_parameters(IDNNNet(FrameConfig())) == 185_496


class Zero(torch.nn.Module):
    """Predicts zero, which means LEVEL_DB."""

    def forward(self, x):
        return torch.zeros(len(x), self.out)


@pytest.mark.parametrize(("net", "positions"), [(AENet, 4 * 3), (IDNNNet, 4)])
def test_residuals_are_prediction_minus_frames(net, positions):
    net = net(FrameConfig(n_mels=2, context=3))
    net.layers = Zero()
    net.layers.out = 6 if positions == 12 else 2
    S = torch.arange(12.0).view(1, 2, 6)  # (batch, mel, frame): frame f holds f and 6 + f
    frames = [0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5] if positions == 12 else [1, 2, 3, 4]
    torch.testing.assert_close(net(S)[0], LEVEL_DB - torch.tensor([[f, 6.0 + f] for f in frames]))


def test_idnn_does_not_see_the_middle_frame():
    _, _, model = small_model("idnn")
    S = torch.randn(1, 32, 5)
    changed = S.clone()
    changed[:, :, 2] += 7
    torch.testing.assert_close(model.network(changed), model.network(S) - 7)


def test_views_are_mean_square_and_ranked_square():
    class Given(torch.nn.Module):
        def forward(self, x):
            return x

    residual = torch.randn(3, 50, 4)
    views = Reconstruct(Given(), 4, (), {}).vectors((residual,), "embedding")
    torch.testing.assert_close(views[:, 0], residual.mean(1))
    torch.testing.assert_close(views[:, 1].mean(1), residual.square().mean((1, 2)))
    ordered = residual.square().mean(2).sort(dim=1).values
    torch.testing.assert_close(views[:, 2].mean(1), gwrp(ordered, (0.99,))[:, 0])


def test_even_contexts_are_refused():
    with pytest.raises(ValueError, match="expected an odd context"):
        FrameConfig(context=4)
