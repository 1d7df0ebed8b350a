"""A build without -e: the default embedders, or those that the store holds, made again from their config."""

from dataclasses import replace
from pathlib import Path

import pytest

import embedders
from featstore.building.default import DEFAULT, chosen, spec_of, windows_held
from featstore.errors import RequestError
from featstore.store import EmbeddingInfo

STORE = Path("store")


def info(spec: str, name: str = "") -> EmbeddingInfo:
    embedder = embedders.create(spec)
    return EmbeddingInfo(
        name=name or embedder.name,
        shape=embedder.shape,
        dtype="float32",
        fingerprint=embedder.fingerprint,
        config=dict(embedder.config),
        views=embedder.views,
        sample_rate_hz=embedder.sample_rate_hz,
    )


@pytest.mark.parametrize(
    "spec",
    [
        "logmel",
        "twfr",
        "logmel:stats=mean;std;p10;median;p90;max",
        "logmel:fmax_hz=6000.0,top_db=80.0,stats=mean,n_mels=64,center=false,mel_scale=htk",
        "twfr:r=1.0;0.9,amin=1e-05",
    ],
)
def test_an_embedder_is_made_again_from_its_config(spec: str) -> None:
    again = spec_of(info(spec))
    assert embedders.create(again).fingerprint == embedders.create(spec).fingerprint
    assert again.partition(":")[0] == spec.partition(":")[0]


def test_another_fingerprint_or_config_is_not_made_again() -> None:
    held = info("logmel")
    other = EmbeddingInfo("logmel", held.shape, "float32", "another", config=held.config)
    assert spec_of(other) == ""
    assert spec_of(EmbeddingInfo("logmel", held.shape, "float32", held.fingerprint, config={"layers": 3})) == ""
    assert spec_of(EmbeddingInfo("logmel", held.shape, "float32", held.fingerprint, config={"stats": ["most"]})) == ""


def test_a_new_store_gets_the_default_embedders() -> None:
    assert chosen(STORE, {}).specs == {name: name for name in DEFAULT}


def test_names_of_the_store_are_kept_and_the_others_are_named() -> None:
    held = {
        "beats": EmbeddingInfo("beats", (768,), "float32", "weights", config={"layer": 3}),
        "old": info("logmel:stats=mean", "old"),
        "theirs": EmbeddingInfo("theirs", (8,), "float32", "imported"),
    }
    again = chosen(STORE, held)
    assert again.specs == {"old": "logmel:stats=mean"}
    assert [note.partition(" stays as it is")[0] for note in again.notes] == ["beats", "theirs"]
    assert "such as -e beats=CHECKPOINT to embed new recordings" in again.notes[0]
    assert "CHECKPOINT" not in again.notes[1]


def test_a_store_of_weights_only_asks_for_them() -> None:
    held = {"beats": EmbeddingInfo("beats", (768,), "float32", "weights")}
    with pytest.raises(RequestError, match="such as -e beats=CHECKPOINT, or -e logmel -e twfr to add"):
        chosen(STORE, held)


@pytest.mark.parametrize(
    ("lengths", "windows"),
    [
        (["window:10,5", "window:10,5"], (10, 5)),
        (["window:10,5", ""], (10, 5)),  # "": imported
        (["window:10,5", "native"], None),
        (["window:10,5", "window:10,10"], None),
        (["native"], None),
        ([], None),
    ],
)
def test_the_windows_of_a_store_are_those_of_all_its_embeddings(
    lengths: list[str], windows: tuple[float, float] | None
) -> None:
    held = {str(i): replace(info("logmel"), length=length) for i, length in enumerate(lengths)}
    assert windows_held(held) == windows
