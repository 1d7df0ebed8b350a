"""docs/pretrained.md stays true: its commands parse, and its five lines lead from a checkpoint to official figures."""

import io
import re
import shlex
from itertools import pairwise

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from local_server import running_server, zipped
from places import ROOT
from small_models import save_beats

from embedders import parse_embedder
from ensemble.cli import main as detect
from featstore.cli import main as featstore
from featstore.exchange import download

DOC = (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8")
PROGRAMS: dict[str, click.Group] = {"featstore": featstore, "detect": detect}


def commands(text: str) -> list[list[str]]:
    """Words of every command in a text's blocks."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in re.findall(r"^    ((?:featstore|detect) .*)", joined, re.M)]


@pytest.mark.parametrize("words", commands(DOC), ids=" ".join)
def test_every_command_parses(words):
    command: click.Command = PROGRAMS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group):
        named = command.get_command(click.Context(command), rest[0])
        command, rest = (named, rest[1:]) if named else (command.get_command(click.Context(command), "run"), rest)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known
    if words[1] == "build":
        for flag, spec in pairwise(rest):
            assert flag != "-e" or parse_embedder(spec)


def wav(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.3, 0.3, 4000), 16000, format="WAV")
    return file.getvalue()


def names(split: str) -> list[str]:
    """Files of a split of DCASE 2025."""
    if split == "unlabelled":
        return [f"test/section_00_{i:04d}.wav" for i in range(4)]
    if split == "supplemental":
        return ["supplemental/section_00_noise_supplemental_normal_0000_n_A.wav"]
    labels = {"train": ["normal"], "test": ["normal", "anomaly"]}[split]
    counts = {"source": 8, "target": 2} if split == "train" else {"source": 3, "target": 3}
    parts = [(domain, label, i) for domain, n in counts.items() for label in labels for i in range(n)]
    return [f"{split}/section_00_{domain}_{split}_{label}_{i:04d}_spd_{i}.wav" for domain, label, i in parts]


def archive(machine: str, *splits: str) -> bytes:
    files = [f"{machine}/{name}" for split in splits for name in names(split)]
    return zipped(*((name, wav(i)) for i, name in enumerate(files)))


@pytest.fixture
def zenodo(monkeypatch):
    """Two machines of the development set and one of the evaluation set of 2025, in the challenge's folders."""
    records = {
        "dev": {f"dev_{m}.zip": archive(m, "train", "test", "supplemental") for m in ("fan", "ToyCar")},
        "additional": {"eval_data_ToyPet_train.zip": archive("ToyPet", "train", "supplemental")},
        "eval": {"eval_data_ToyPet_test.zip": archive("ToyPet", "unlabelled")},
    }
    monkeypatch.setenv("no_proxy", "*")
    with running_server() as server:
        monkeypatch.setattr(download, "ZENODO", server.url("/api/records"))
        for number, contents in zip(download.RECORDS["dcase2025"], records.values(), strict=True):
            server.add_record(number, contents)
        yield server


def test_the_five_lines_lead_to_official_figures(tmp_path, monkeypatch, zenodo):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEATSTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    (tmp_path / "models").mkdir()
    save_beats(tmp_path / "models" / "BEATs_iter3.pt")
    lines = commands(DOC.partition("in five lines")[2].partition("\n## ")[0])
    assert len(lines) == 5
    outputs = []
    for words in lines:
        quick = ["--workers", "0"] if words[1] == "build" else []
        done = CliRunner().invoke(PROGRAMS[words[0]], words[1:] + quick)
        assert done.exit_code == 0, f"{words}: {done.output}"
        outputs.append(done.output)
    assert "layout dcase2025, 61 clips" in outputs[2]
    assert "beats holds 61 rows" in outputs[2]
    for text, folder in zip(outputs[3:], ("results", "results-smote"), strict=True):
        assert "official score (2025 rule)" in text
        assert re.search(r"^fan +00 ", text, re.M)
        assert "ToyPet" in (tmp_path / folder / "scores.csv").read_text()
