"""The benchmark of pretrained members, without its builds, and the rendering of its forest."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from places import ROOT
from script import load_script

from ensemble.recipe import Member, Recipe, write_recipe
from featstore.layouts.recognise import find_clips

sys.path.insert(0, str(ROOT / "scripts"))
members, forest = load_script("bench_members"), load_script("render_forest")


def test_rows_of_the_table_and_what_they_are_compared_with() -> None:
    rows = {system.name: system for system in members.systems(("mn04-early", "mine"))}
    assert not any("crepe" in name for name in rows)
    assert {"mn04-early@l3, knn", "mn04-early@l6, knn", "mine, mahalanobis"} <= set(rows)
    assert len(rows) == len(members.systems(())) + 3 * len(members.DETECTORS)
    compared = {system.name: system.against for system in rows.values() if system.against}
    assert set(compared.values()) <= set(rows)
    assert rows["selection, log-mel"].options == ("--ensemble", "-e", "logmel", "-e", "twfr")


def test_the_share_of_other_embeddings(tmp_path: Path) -> None:
    own, other = Member("logmel", "knn", "mean", weight=0.3), Member("mn04-final", "knn", weight=0.1)
    write_recipe(Recipe((own, other), fusion="weighted_fisher"), tmp_path / "recipe.toml")
    assert members.others_share(tmp_path / "recipe.toml") == pytest.approx(0.25)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Four recordings of a second of every kind: tones at frequencies of their own."""
    folder = tmp_path / "noise"
    folder.mkdir()
    kinds = [kind for kinds in forest.DOMAINS.values() for kind in kinds] + [forest.ANOMALY]
    for k, kind in enumerate(kinds):
        for i in range(4):
            tone = np.sin(2 * np.pi * (500 + 700 * k + 100 * i) * np.arange(44_100) / 44_100)
            soundfile.write(folder / f"{kind}_{i}.ogg", 0.1 * tone, 44_100)
    return folder


def test_a_forest_has_new_recordings_in_its_test_clips(noise: Path, tmp_path: Path) -> None:
    assert forest.render(noise, tmp_path / "data", 0.0, seed=0) == sum(n for *_, n in forest.CLIPS) == 360
    clips = find_clips(tmp_path / "data").clips
    counts = {(split, label, domain): n for split, label, domain, n in forest.CLIPS}
    recordings: dict[str, set[str]] = {"train": set(), "test": set()}
    for clip in clips:
        counts[clip.split, clip.label, clip.domain] -= 1
        recordings[clip.split].add(clip.attributes["rec"])
    assert set(counts.values()) == {0}
    assert not recordings["train"] & recordings["test"]


def test_a_chainsaw_is_added_at_the_ratio(noise: Path) -> None:
    noises = forest.load_noises(noise)
    rendered = {name: wave for _, name, wave in forest.clips(noises, 6.0, seed=1)}
    for name, wave in rendered.items():
        power = np.square(np.abs(np.fft.rfft(wave)))
        hz = np.fft.rfftfreq(len(wave), 1 / forest.RATE_HZ)
        saw = power[hz > 3200].sum() / power[hz < 3200].sum()
        assert saw == pytest.approx(10**0.6, rel=0.1) if "anomaly" in name else saw < 0.1, name
