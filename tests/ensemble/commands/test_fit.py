"""`detect fit` as a user drives it: from a store to a model file, and a model that grows."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fitted_plant import listed, store_of, variants
from scored_plant import Plant

from ensemble.cli import main
from ensemble.marks.file import Mark, append_mark
from ensemble.scoring.model import Model


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


NAMED = ("-d", "knn:k=1", "-e", "logmel@mean")


def test_a_store_becomes_a_model_file(plant: Plant, tmp_path: Path) -> None:
    result = run("fit", plant.store.path, "-o", tmp_path / "new" / "a.model", *NAMED, "--workers", 1)
    assert result.exit_code == 0, result.output
    model = Model.load(tmp_path / "new" / "a.model")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["machine", "section", "domain", "reference", "clips", "threshold"]
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in lines if line.startswith(("fan", "pump"))}
    assert set(rows) == set(model.sections)
    assert rows["fan", "00"] == ["12", f"{model.fitted.thresholds()['fan', '00', ''][1]:.4f}"]
    assert f"wrote {tmp_path / 'new' / 'a.model'} (1 member, 3 sections, 36 clips" in result.stderr
    assert f"`detect score {tmp_path / 'new' / 'a.model'} FILE` scores with it" in result.stderr
    assert "ranked among themselves" not in result.stderr


def test_json(plant: Plant, tmp_path: Path) -> None:
    result = run(
        "fit", plant.store.path, "-o", tmp_path / "a.model", *NAMED, "--domains", "predicted", "--json", "--workers", 1
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["bytes"] == (tmp_path / "a.model").stat().st_size
    assert summary["members"] == ["logmel@mean knn:k=1"]
    thresholds = Model.load(tmp_path / "a.model").fitted.thresholds()
    assert {
        (row["machine"], row["section"], row["domain"]): (row["training_clips"], row["threshold"])
        for row in summary["sections"]
    } == thresholds


def test_an_ensemble_and_its_recipe_make_the_same_model(plant: Plant, tmp_path: Path) -> None:
    members = ("-d", "knn:k=1", "-d", "mahalanobis", "-e", "logmel")
    assert run(plant.store.path, *members, "-o", tmp_path / "out", "--workers", 1).exit_code == 0
    for name, options in (("a", members), ("b", ("--recipe", tmp_path / "out" / "recipe.toml"))):
        result = run("fit", plant.store.path, "-o", tmp_path / name, *options, "--workers", 1)
        assert result.exit_code == 0, result.output
    a, b = (Model.load(tmp_path / name).fitted for name in "ab")
    assert a.thresholds() == b.thresholds()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["STORE", "-d", "knnn", "-e", "logmel@mean"], 2, "did you mean knn?"),
        (["STORE", "-d", "knn", "-e", "logmle"], 1, "did you mean logmel?"),
        (["STORE", *NAMED, "--fdr", "0.1"], 1, "a model decides each clip by a false-alarm rate (--fpr)"),
        (["STORE", *NAMED, "--machine", "fam"], 1, "did you mean fan?"),
        (["STORE", *NAMED, "--embedder", "stgram=nowhere"], 1, "no such checkpoint"),
        (["STORE", *NAMED, "--weights", "half"], 2, "inside"),
        (["nowhere", *NAMED], 2, "does not exist"),
        (["STORE", "--update", "MODEL", "-d", "knn"], 2, "keeps the members and decisions of the model; leave -d"),
        (["STORE", "--update", "MODEL", "--fpr", "0.2"], 2, "leave --fpr out"),
        (["STORE", "--update", "STORE/lock"], 1, "is no model file"),
        (["STORE", "--update", "STORE"], 1, "it is no regular file"),
        (["STORE", "--update", "nowhere"], 2, "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_answered_with_what_to_do(
    plant: Plant, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    texts = [arg.replace("STORE", str(plant.store.path)).replace("MODEL", str(plant.model)) for arg in args]
    result = run("fit", *texts, "-o", tmp_path / "a.model")
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "a.model").exists()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of the first clips of a store, and the store with more of them and generated anomalies."""
    folder = tmp_path_factory.mktemp("grown")
    clips = [clip for clip in listed(machines=["fan"]) if clip.split == "train"]
    store_of(folder / "old", [clip for clip in clips if int(clip.path[-7:-4]) < 16])
    store_of(folder / "new", [*clips, *variants(clips)])
    result = run("fit", folder / "old", "-o", folder / "a.model", "-d", "knn:k=1", "-e", "h", "--workers", 1)
    assert result.exit_code == 1, "its embedders are unknown"
    assert "h: its config alone does not make its embedder; give the -e that built it as --embedder" in result.stderr
    from ensemble.fitting.fit import fit
    from ensemble.recipe import Member, Recipe
    from ensemble.scoring.sources import Source, Sources
    from featstore.store import FeatureStore

    fitted = fit(FeatureStore.open(folder / "old"), Recipe((Member("h", "knn:k=1"),)), workers=0)[0]
    Model(fitted, Sources({"h": Source("logmel")}), seconds=2.0).save(folder / "a.model")
    return folder / "a.model", folder / "new"


def test_a_model_grows_in_place(grown: tuple[Path, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(grown[0], tmp_path))
    before = Model.load(path).fitted.thresholds()
    result = run("fit", "--update", path, grown[1], "--workers", 1)
    assert result.exit_code == 0, result.output
    after = Model.load(path)
    assert len(after.fitted.train) == 48
    assert f"16 new training clips; wrote {path}" in result.stderr
    table = [line.split() for line in result.stdout.splitlines()[1:] if line.startswith("fan")]
    old, new = before["fan", "00", ""], after.fitted.thresholds()["fan", "00", ""]
    assert table[0][:8] == ["fan", "00", "16", "->", "24", f"{old[1]:.4f}", "->", f"{new[1]:.4f}"]
    assert table[0][8] == "16"
    content = path.read_bytes()
    again = run("fit", "--update", path, grown[1], "--workers", 1)
    assert again.exit_code == 0, again.output
    assert "no new training clips" in again.stderr
    assert path.read_bytes() == content


def test_an_update_as_json_to_another_file(grown: tuple[Path, Path], tmp_path: Path) -> None:
    content = grown[0].read_bytes()
    result = run("fit", "--update", grown[0], grown[1], "-o", tmp_path / "b.model", "--json", "--workers", 1)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["model"] == str(tmp_path / "b.model")
    assert summary["new_clips"] == 16
    row = summary["sections"][0]
    assert (row["machine"], row["section"], row["clips"], row["anomalies"]) == ("fan", "00", [16, 24], 16)
    assert all(0 <= share <= 1 for share in row["found"])
    assert grown[0].read_bytes() == content
    again = run("fit", "--update", tmp_path / "b.model", grown[1], "-o", tmp_path / "c.model", "--json", "--workers", 1)
    assert json.loads(again.stdout) == {"model": str(tmp_path / "c.model"), "new_clips": 0, "sections": []}
    assert Model.load(tmp_path / "c.model").fitted.thresholds() == Model.load(tmp_path / "b.model").fitted.thresholds()


def test_an_update_by_another_embedder_is_refused(grown: tuple[Path, Path], tmp_path: Path) -> None:
    clips = [clip for clip in listed(machines=["fan"]) if clip.split == "train"]
    store_of(tmp_path / "s", clips, fingerprint="b" * 64)
    result = run("fit", "--update", grown[0], tmp_path / "s")
    assert result.exit_code == 1
    assert "h has fingerprint 'bbbb" in result.stderr
    assert "build the store as that of the model" in result.stderr


def test_a_model_is_as_it_was_where_writing_fails(
    grown: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(grown[0], tmp_path))
    content = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    result = run("fit", "--update", path, grown[1], "--workers", 1)
    assert result.exit_code == 5, result.output
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_update_by_marks_alone_says_that_it_writes(grown: tuple[Path, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(grown[0], tmp_path))
    store = store_of(tmp_path / "s", [clip for clip in listed(16, machines=["fan"]) if clip.split == "train"])
    clip = store.clips("v")[0].key
    append_mark(store.path, Mark(clip=clip, mark="fault"))
    result = run("fit", "--update", path, store.path, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert f"0 new training clips; wrote {path}" in result.stderr
    assert "as the model was" not in result.stderr
    assert clip not in Model.load(path).fitted.train.keys()  # noqa: SIM118 - a table, not a dict
