"""The systems benchmark: one table, nothing trained twice, settings that replace those of the recipes."""

import sys

import pytest
from click.testing import CliRunner
from script import load_script

from ensemble.systems.catalogue import find_system
from featstore.cli import main as featstore

SMALL = ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "dim=16", "batch=8", "holdout=0.2")


@pytest.fixture(scope="module")
def bench():
    return load_script("bench_systems")


def table(bench, capsys, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["bench_systems.py", *map(str, args)])
    bench.main()
    shown = capsys.readouterr()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.out.splitlines()]
    return rows, shown.err


def test_trains_once_and_prints_one_table(bench, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "TIMED_S", 0.0)
    data = tmp_path / "data"
    made = ["simulate", str(data), "--clips", "60", "--machines", "fan,valve", "--seconds", "2"]
    assert CliRunner().invoke(featstore, made).exit_code == 0
    settings = [word for one in SMALL for word in ("--set", one)]
    args = [data, "--work", tmp_path / "work", "--only", "ustc", "--only", "ustc_tgram", "--only", "twfr_gmm"]
    args += ["--epochs", "2", *settings, "--backend", "knn", "--threads", "1"]
    rows, commands = table(bench, capsys, monkeypatch, *args)
    assert rows[0] == list(bench.HEADER)
    assert [row[0] for row in rows[2:6]] == ["ustc", "ustc_tgram", "ustc_tgram, knn", "twfr_gmm"]
    assert rows[2][1] == "not run", "its encoder is not there"
    assert {len(row) for row in rows} == {len(bench.HEADER)}
    assert rows[3][5].endswith("of 2")
    assert "--set epochs=2" in commands
    assert all(0 < float(row[1].split()[0]) < 100 for row in rows[3:])
    shares = [row[8].split(", ") for row in rows[3:] if row[8]]
    assert len(shares) == len(rows) - 4
    assert all(50 < float(share) <= 100 for _, share in shares[1:]), "a simulated fan and a valve differ"
    first, last = map(float, rows[3][6].split(" to "))
    assert first > last > 0
    best = [float(row[1].split()[0]) for row in rows[6:]]
    assert best == sorted(best, reverse=True)
    assert len(best) == 17, "every view of the untrained embeddings"
    again, commands = table(bench, capsys, monkeypatch, *args)
    assert [row[:9] for row in again] == [row[:9] for row in rows]
    assert "featstore train tdnn" in commands, "the one without its encoder is tried again"
    assert commands.count("$ featstore train") == 1


def test_epochs_replace_those_of_every_stage_a_recipe_has(bench, tmp_path):
    work = bench.Work(tmp_path, tmp_path, "cpu", 1, ("batch=4",), 3)
    assert work.changed(find_system("clp_scf")) == ("epochs=3", "pretrain.epochs=3", "batch=4")
    assert work.changed(find_system("ae")) == ("epochs=3", "batch=4")
    assert work.changed(find_system("twfr_gmm")) == ()
