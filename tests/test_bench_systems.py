"""The systems benchmark: one table, nothing trained twice, several years and seeds, and a file of measured rows."""

import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from script import load_script

from embedders.training.request import parse_setup
from ensemble.systems.catalogue import find_system, names
from featstore.cli import main as featstore
from featstore.errors import DataError
from featstore.layouts.recognise import find_clips
from featstore.store import FeatureStore

SMALL = ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "dim=16", "batch=8", "holdout=0.2")
bench = load_script("bench_systems")
import systems_facts  # noqa: E402 - a neighbour of the script
import systems_measured  # noqa: E402
import systems_runs  # noqa: E402
import systems_small  # noqa: E402
import systems_years  # noqa: E402


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch):
    monkeypatch.setattr(systems_facts, "TIMED_S", 0.0)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Two simulated machines in the layout of 2023."""
    data = tmp_path_factory.mktemp("plant") / "dcase2023"
    made = ["simulate", str(data), "--clips", "60", "--machines", "fan,valve", "--seconds", "2"]
    assert CliRunner().invoke(featstore, made).exit_code == 0
    return data


@pytest.fixture(scope="module")
def with_ids(plant, tmp_path_factory):
    """The same recordings in the layout of 2020, the domains as ids of a machine."""
    data = tmp_path_factory.mktemp("ids") / "dev_data"
    for i, clip in enumerate(find_clips(plant).clips):
        number = 0 if clip.domain == "source" and i % 3 else 2
        name = f"{clip.label}_id_{number:02d}_{i:08d}.wav"
        place = data / clip.machine / clip.split / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(plant / clip.path, place)
    return data


def printed(capsys, monkeypatch, *args):
    """The tables that the script prints, as lists of rows without their rule, and what it prints to stderr."""
    monkeypatch.setattr(sys, "argv", ["bench_systems.py", *map(str, args)])
    bench.main()
    shown = capsys.readouterr()
    tables = [part.splitlines() for part in shown.out.split("\n\n")]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])] for lines in tables
    ], shown.err


def test_trains_once_and_prints_one_table(plant, tmp_path, capsys, monkeypatch):
    settings = [word for one in SMALL for word in ("--set", one)]
    args = [plant, "--work", tmp_path / "work", "--only", "ustc", "--only", "ustc_tgram", "--only", "twfr_gmm"]
    args += ["--epochs", "2", *settings, "--backend", "knn", "--threads", "1"]
    record = tmp_path / "measured.csv"
    (rows,), commands = printed(capsys, monkeypatch, *args, "--record", record)
    assert rows[0] == ["system", "h-mean", "AUC_s", "AUC_t", "pAUC", *systems_measured.FACTS]
    assert [row[0] for row in rows[1:5]] == ["ustc", "ustc_tgram", "ustc_tgram, knn", "twfr_gmm"]
    assert rows[1][1] == "not run", "its encoder is not there"
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[2][5].endswith("of 2")
    assert "--set epochs=2" in commands
    assert all(0 < float(row[1].split()[0]) < 100 for row in rows[2:])
    shares = [row[8].split(", ") for row in rows[2:] if row[8]]
    assert len(shares) == len(rows) - 3
    assert all(50 < float(share) <= 100 for _, share in shares[1:]), "a simulated fan and a valve differ"
    first, last = map(float, rows[2][6].split(" to "))
    assert first > last > 0
    best = [float(row[1].split()[0]) for row in rows[5:]]
    assert best == sorted(best, reverse=True)
    assert len(best) == 17, "every view of the untrained embeddings"
    (again,), commands = printed(capsys, monkeypatch, *args, "--record", record)
    assert [row[:9] for row in again] == [row[:9] for row in rows]
    assert "featstore train tdnn" in commands, "the one without its encoder is tried again"
    assert commands.count("$ featstore train") == 1
    measured = systems_measured.read_measured(record)
    assert len(measured) == len(rows) - 2, "of equal rows the last"
    assert [systems_measured.cells(row) for row in measured] == [row[1:5] for row in again[2:]]
    assert measured[0].detector == find_system("ustc_tgram").detector
    assert measured[0].command.startswith("python scripts/bench_systems.py DATA --work DIR --only ustc --only")
    assert str(tmp_path) not in record.read_text()


def test_several_years_and_seeds_in_one_command(plant, with_ids, tmp_path, capsys, monkeypatch):
    args = [plant, f"20dev={with_ids}", "--years", "--work", tmp_path / "work", "--only", "ae", "--seeds", "2"]
    args += ["--set", "n_mels=16", "--set", "width=8", "--set", "hop=1024", "--epochs", "1", "--threads", "1"]
    args += ["-e", "logmel", "-e", "logmel@std"]
    (years, both), commands = printed(capsys, monkeypatch, *args)
    assert years[0] == ["system", "23dev", "20dev", "Hmean", "Amean"]
    assert [row[0] for row in years[1:]] == ["ae", "logmel@mean, knn", "logmel@std, knn"]
    assert commands.count("$ featstore train") == 4, "two seeds on two data sets"
    assert all("±" in cell for cell in years[1][1:])
    assert not any("±" in cell for row in years[2:] for cell in row)
    for row in years[2:]:
        scores = [float(cell.split()[0]) for cell in row[1:3]]
        assert float(row[4]) == pytest.approx(sum(scores) / 2, abs=0.11)
        assert float(row[3]) == pytest.approx(2 / (1 / scores[0] + 1 / scores[1]), abs=0.11)
    assert both[0] == list(systems_years.BOTH)
    assert {row[1] for row in both[1:]} == {"20dev"}
    for row, of_years in zip(both[1:], years[1:], strict=True):
        assert row[6] == of_years[2].split()[0], "the official score of 2020 is the mean per id"
        assert float(row[8]) <= float(row[2]), "the lowest id is at most the mean of the ids"
    _, commands = printed(capsys, monkeypatch, *args)
    assert "$ featstore train" not in commands


def test_a_system_that_needs_confirmed_faults_is_not_run(plant, tmp_path):
    work = systems_runs.Work(systems_runs.Dataset("plant", plant), tmp_path)
    with pytest.raises(SystemExit, match="stargan_aug: needs a file of confirmed faults"):
        systems_runs.trained(work, find_system("stargan_aug"), "embedding")


def test_an_evaluation_set_is_scored_by_the_labels_of_its_truth(with_ids, tmp_path, capsys, monkeypatch):
    evaluation, truth = tmp_path / "eval_data", tmp_path / "truth"
    shutil.copytree(with_ids, evaluation)
    truth.mkdir()
    for path in sorted(evaluation.glob("*/test/*.wav")):
        label, name = path.name.split("_", 1)
        path.rename(path.with_name(name))
        listing = truth / f"ground_truth_{path.parts[-3]}_{name[:5]}_test.csv"
        with listing.open("a") as file:
            file.write(f"{name},{int(label == 'anomaly')}\n")
    args = [with_ids, f"20eval={evaluation}", "--years", "--work", tmp_path / "work", "-e", "logmel"]
    ((_, row), _), _ = printed(capsys, monkeypatch, *args, "--ground-truth", f"20eval={truth}")
    assert row[1] == row[2] != "not run"
    ((_, row), _), stderr = printed(capsys, monkeypatch, with_ids, *args[1:4], tmp_path / "other", *args[5:])
    assert row[2:] == ["not run", "", ""]
    assert "20eval: no section can be measured: no labels" in stderr


def test_named_ids_are_those_of_the_columns_of_sections(with_ids, tmp_path, capsys, monkeypatch):
    settings = [word for one in ("n_mels=16", "hop=2048", "width=8", "batch=8") for word in ("--set", one)]
    args = [with_ids, "--work", tmp_path / "work", "--only", "idcaf", "--epochs", "2", *settings, "--threads", "1"]
    ((head, row, *_), *_), _ = printed(capsys, monkeypatch, *args)
    (path,) = (tmp_path / "work").glob("idcaf-*.store")
    store = FeatureStore.open(path)
    clips, ids = store.clips(path.stem), systems_facts.ids_of(store, path.stem)
    own = np.unique(ids)[store.matrix(path.stem).argmax(axis=1)] == ids
    train, normal = clips.where(split="train"), clips.where(split="test", label="normal")
    assert row[head.index("ids")] == f"{100 * own[train].mean():.0f}, {100 * own[normal].mean():.0f}"


def test_the_two_averages_by_hand(with_ids, tmp_path):
    work = systems_runs.Work(systems_years.data_sets([f"2020={with_ids}"], {})[0], tmp_path)
    clips = systems_runs.ClipTable.from_clips([clip for clip in work.data.listing.clips if clip.split == "test"])
    of_id = np.char.endswith(clips.column("section").astype(str), "02")
    scores = 10.0 * of_id + (clips.column("label") == "anomaly")
    metrics = systems_runs.measured(work, systems_runs.ScoreTable("s", tuple(clips.keys()), scores), clips)
    assert metrics.evaluation.mean("auc") == 1, "every id is separated"
    assert metrics.pooled.mean("auc") < 1, "but its scores lie elsewhere"
    assert metrics.parts() == {"auc": 100, "pauc": 100}


def test_means_are_those_of_asdkit():
    ae = [65.33, 67.18, 56.46, 54.89, 53.84, 53.46, 54.82, 57.80, 55.02, 56.71]
    means = systems_years.means([[score] for score in ae])
    assert means["Hmean"] == [pytest.approx(57.22, abs=0.005)]
    assert means["Amean"] == [pytest.approx(57.55, abs=0.005)]


def test_means_of_seeds_are_taken_per_seed():
    means = systems_years.means([[40.0, 60.0], [60.0, 40.0], [50.0]])
    assert means["Amean"] == [pytest.approx(50), pytest.approx(50)]
    assert means["Hmean"] == [pytest.approx(3 / (1 / 40 + 1 / 60 + 1 / 50))] * 2


def test_spread_by_hand():
    assert systems_years.spread([1.0, 3.0]) == pytest.approx(2**0.5)
    assert systems_years.spread([4.0]) is None
    assert systems_years.spread_text([1.0, 3.0]) == "2.0 ± 1.4"
    assert systems_years.spread_text([4.0]) == "4.0"


def test_data_sets_have_names_and_years(plant, with_ids, tmp_path):
    named = systems_years.data_sets([str(with_ids), f"23dev={plant}", f"mine={plant}"], {"mine": tmp_path})
    assert [(data.name, data.year) for data in named] == [("20dev", 2020), ("23dev", 2023), ("mine", 0)]
    assert [data.truth for data in named] == [None, None, tmp_path]
    assert [systems_years.data_sets([f"{name}={plant}"], {})[0].year for name in ("2021eval", "22", "2027")] == [
        2021,
        2022,
        0,
    ]
    assert named[0].rule == 2020
    with pytest.raises(DataError, match="two data sets are called '20dev'"):
        systems_years.data_sets([str(with_ids), f"20dev={plant}"], {})
    with pytest.raises(DataError, match="ground truth for 'b', which is no data set; choose from a"):
        systems_years.data_sets([f"a={plant}"], {"b": tmp_path})


def test_measured_rows_are_kept_to_the_digit(tmp_path):
    values = {"score": 61.25, "low": 50.0, "high": 70.0, "loss_first": 0.0712, "kept": 3, "epochs": 6}
    texts = {"dataset": "a, b", "system": "s", "detector": "knn:k=1,bank=two_bank", "command": "python x --set 'a=b;c'"}
    row = systems_measured.Measured(**texts, **values, parameters=14085121)
    path = tmp_path / "rows.csv"
    systems_measured.append_measured(path, [row])
    systems_measured.append_measured(path, [row])
    assert systems_measured.read_measured(path) == [row]
    path.write_text(path.read_text().replace("61.25", "many"))
    with pytest.raises(ValueError, match=r"rows\.csv, line 2: could not convert"):
        systems_measured.read_measured(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns dataset,system"):
        systems_measured.read_measured(path)


def test_epochs_replace_those_of_every_stage_a_recipe_has(plant, tmp_path):
    data = systems_runs.Dataset("plant", plant)
    work = systems_runs.Work(data, tmp_path, settings=("batch=4",), epochs=3)
    assert work.changed(find_system("clp_scf")) == ("epochs=3", "pretrain.epochs=3", "batch=4")
    assert work.changed(find_system("ae")) == ("epochs=3", "batch=4")
    assert work.changed(find_system("twfr_gmm")) == ()
    assert systems_runs.Work(data, tmp_path, seed=2).changed(find_system("ae")) == ("seed=2",)


@pytest.mark.parametrize("name", [name for name in names() if find_system(name).trained])
def test_small_settings_fit_every_recipe(name):
    system = find_system(name)
    changes = dict(item.split("=", 1) for item in systems_small.small_settings(system, 130))
    setup = parse_setup(system.embedder, tuple(f"{key}={text}" for key, text in {**system.settings, **changes}.items()))
    stages = [stage.train for stage in setup.stages]
    seen = 130 * sum(stage.epochs for stage in stages)
    assert seen <= 1.3 * systems_small.SMALL[system.embedder].clips
    assert all(stage.batch <= 16 and stage.ema == 0 for stage in stages)


def test_small_epochs_by_hand():
    one_stage, two_stages = find_system("multires_subspace"), find_system("clp_scf")
    assert "epochs=19" in systems_small.small_settings(one_stage, 130)
    assert "epochs=5" in systems_small.small_settings(one_stage, 540)
    assert {"epochs=15", "pretrain.epochs=15", "pretrain.batch=16"} <= {*systems_small.small_settings(two_stages, 130)}
    assert "epochs=2" in systems_small.small_settings(one_stage, 100_000), "never fewer"
    assert "epochs=40" in systems_small.small_settings(one_stage, 10), "never more"
    assert "warmup=30" in systems_small.small_settings(find_system("anopatch"), 600), "a fifth of 2 x 75 steps"
