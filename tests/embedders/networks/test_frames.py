"""Patches of a log-mel: the last one, and which networks read a clip to its end."""

import pytest
import torch
from small_networks import small_model

from embedders.networks.frames import patches


@pytest.mark.parametrize(("frames", "starts"), [(10, (0, 3, 6)), (11, (0, 3, 6, 7)), (12, (0, 3, 6, 8)), (4, (0,))])
def test_one_more_patch_ends_with_the_clip_where_frames_are_left_over(frames, starts):
    S = torch.arange(2.0 * frames).view(1, 2, frames)
    parts = patches(S, 4, 3, last=True)[0]
    torch.testing.assert_close(parts, torch.stack([S[0, :, i : i + 4] for i in starts]))
    dropped = patches(S, 4, 3)[0]
    torch.testing.assert_close(dropped, parts[: len(dropped)])
    assert len(dropped) == (frames - 4) // 3 + 1


def test_a_short_clip_is_one_repeated_patch():
    assert patches(torch.tensor([[[1.0, 2, 3]]]), 4, 3, last=True).tolist() == [[[[1, 2, 3, 1]]]]


@pytest.mark.parametrize("name", ["glow", "anp", "dp_mae"])
def test_the_end_of_a_clip_changes_its_vector(name):
    model = small_model(name)[2]
    (S,) = model.network.front(0.1 * torch.randn(1, 32000))  # 63 frames, of which whole steps leave out 15
    changed = S.clone()
    changed[:, :, -1] += 20
    with torch.no_grad():
        before, after = (model.vectors((x,), "embedding") for x in (S, changed))
    assert (after - before).abs().max() > 1e-3
