"""The fingerprint of a trained embedder names its weights, its output and the version of its code."""

import hashlib
import json

import pytest
import torch

from embedders import EMBEDDERS
from embedders.networks.checkpoint import Trained
from embedders.networks.trained import TrainedEmbedder
from featstore import registry

CHANGED = {"glow": 2, "anp": 2, "dp_mae": 2}
"""Networks whose vectors changed with their code, and its version; every later change raises a number here."""

CLASSES = [
    cls
    for name in EMBEDDERS
    if EMBEDDERS[name].startswith("embedders.networks.")
    and issubclass(cls := registry.find("embedder", name), TrainedEmbedder)
]


def of(cls: type[TrainedEmbedder]) -> TrainedEmbedder:
    """An embedder with made-up weights, as if it were loaded."""
    embedder = cls(checkpoint="a.safetensors")
    embedder.__dict__["trained"] = Trained(cls.name, {"dim": 2}, {"w": torch.ones(2)})
    return embedder


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_a_first_version_is_not_written_and_a_later_one_is(cls: type[TrainedEmbedder]) -> None:
    embedder, version = of(cls), CHANGED.get(cls.name, 1)
    parts = {"output": "embedding", "weights": embedder.trained.fingerprint} | (
        {"code": version} if version > 1 else {}
    )
    text = json.dumps([cls.name, parts], sort_keys=True, separators=(",", ":"))
    assert embedder.fingerprint == hashlib.sha256(text.encode() + b"\0").hexdigest()


def test_a_new_version_of_the_code_is_another_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = next(cls for cls in CLASSES if cls.name == "glow")
    before = of(cls).fingerprint
    monkeypatch.setattr(cls, "code_version", 3)
    assert of(cls).fingerprint != before
