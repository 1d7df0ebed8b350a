"""The benchmark of the default ensemble: the plain competitors do the same job, and slow ones are estimated."""

import sys

import pytest
from script import load_script
from selection_store import selection_store


@pytest.fixture
def table(tmp_path, capsys, monkeypatch):
    load_script("plain_detectors")
    bench = load_script("bench_ensemble")

    def rows(*args, large=bench.LARGE):
        monkeypatch.setattr(bench, "LARGE", large)
        monkeypatch.setattr(sys, "argv", ["bench_ensemble.py", "--work", str(tmp_path / "work"), *map(str, args)])
        bench.main()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert cells[0] == list(bench.HEADER)
        assert {len(line) for line in cells} == {len(bench.HEADER)}
        return {(line[0], line[1]): dict(zip(bench.HEADER, line, strict=True)) for line in cells[2:]}

    return rows


def test_the_plain_form_of_every_job_gives_the_same_scores(table):
    rows = table("--clips", 0, "--banks", 300, "--rounds", 1)
    jobs = ("ensemble (4 members)", "knn", "ldn", "mahalanobis", "gmm", "lof")
    assert list(rows) == [("bank of 300", job) for job in jobs]
    for (_, job), row in rows.items():
        if job in ("knn", "ldn", "mahalanobis", "lof"):
            value, unit = row["agreement"].split()
            assert unit == "relative"
            assert float(value) < 1e-9, job
        else:
            assert float(row["agreement"].removeprefix("rank correlation ").split(", ")[0]) > 0.5, job
        assert float(row["ours s"]) > 0
        assert float(row["plain s"]) > 0
        assert float(row["plain / ours"]) > 0


def test_a_form_over_the_limit_is_estimated_and_marked(table):
    rows = table("--clips", 0, "--banks", 400, "--only", "lof", "--rounds", 2, "--limit", 0, large=400)
    row = rows["bank of 400", "lof"]
    assert all(row[name].startswith("~ ") for name in ("ours s", "plain s", "plain / ours", "agreement"))
    assert float(row["agreement"].split()[1]) < 1e-9


def test_other_rows_are_left_out(table):
    rows = table("--clips", 0, "--banks", 200, 300, "--only", "300 | knn", "--rounds", 1)
    assert list(rows) == [("bank of 300", "knn")]


def test_a_store_replaces_the_plant(table, tmp_path):
    store = selection_store(tmp_path / "store")
    rows = table("--store", store.path, "--banks", "--only", "plant | mahalanobis", "--rounds", 1)
    assert float(rows["plant", "mahalanobis"]["agreement"].split()[0]) < 1e-9
