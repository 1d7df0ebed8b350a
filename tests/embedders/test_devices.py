"""What torch sees of accelerators, in words, with torch's own answers replaced."""

import pytest
import torch

from embedders.devices import devices_seen


@pytest.mark.parametrize(
    ("cuda", "why"), [(None, "is built without CUDA"), ("12.6", "(built for 12.6) sees no device; check the driver")]
)
def test_without_a_device_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, cuda: str | None, why: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    seen = devices_seen()
    assert (seen["devices"], why in seen["why"]) == ([], True)
    assert seen["torch"] == torch.__version__


def test_every_device_has_its_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (10 + number, 20))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"gpu{number}")
    seen = devices_seen()
    assert seen["devices"] == [{"name": f"gpu{i}", "free": 10 + i, "total": 20} for i in range(2)]
    assert seen["why"] == ""
