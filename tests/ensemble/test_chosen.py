"""The ensemble of --ensemble: chosen once and kept, chosen again when something changed, and the default otherwise."""

import json
import multiprocessing
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from selection_store import TABLES, labelled, recordings, selection_store, variants

from ensemble import chosen
from ensemble.chosen import Ensemble, chosen_ensemble
from ensemble.cli import main
from ensemble.defaults import default_recipe
from ensemble.request import RunRequest
from ensemble.selection import kept
from ensemble.selection.choose import STRATEGIES
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options, Selection
from ensemble.selection.standings import DEFAULT
from featstore.errors import DataError, OptionError
from featstore.store import FeatureStore
from featstore.upkeep.compact import compact
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import notes, verify

CLIPS = [*recordings(), *variants(recordings()), *labelled()]


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default candidates are five detectors per view."""
    monkeypatch.setattr("ensemble.selection.candidates.GRID", TABLES)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a kept choice, to be copied."""
    root = tmp_path_factory.mktemp("chosen") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ensemble.selection.candidates.GRID", TABLES)
        run(selection_store(root))
    return root


@pytest.fixture
def store(master: Path, tmp_path: Path) -> FeatureStore:
    shutil.copytree(master, tmp_path / "store")
    return FeatureStore.open(tmp_path / "store")


@pytest.fixture
def selections(monkeypatch: pytest.MonkeyPatch) -> list[Selection]:
    """The selections that are made from here on."""
    made: list[Selection] = []
    select = chosen.select

    def listed(*args: object, **more: object) -> Selection:
        made.append(select(*args, **more))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(chosen, "select", listed)
    return made


def run(store: FeatureStore, *embeddings: str, perturb: bool = False) -> tuple[Ensemble, list[str]]:
    """The ensemble and the lines that are said."""
    lines: list[str] = []
    options = Options(workers=1, perturbed=PerturbDesign() if perturb else None)
    return chosen_ensemble(store, embeddings, options, say=lines.append), lines


def test_the_first_choice_is_told_in_three_lines(store: FeatureStore) -> None:
    shutil.rmtree(store.path / "selection")
    ensemble, lines = run(store)
    assert ensemble.kind == "chosen"
    assert sum(member.view == "good" for member in ensemble.recipe.members) >= 3
    count = len(ensemble.recipe.members)
    assert lines[0].startswith(f"chosen: {count} of 20 combinations of view and detector (")
    assert f" ({ensemble.selection['chosen']}): emb@good " in lines[0]
    told = "on generated anomalies that were not used to choose, the official score is "
    lead = r"\d+\.\d points higher \[[+-]\d+\.\d, \+\d+\.\d\] than that of the fixed default"
    assert re.fullmatch(re.escape(told) + lead, lines[1])
    data = "data: 320 generated anomalies of 4 kinds and 40 normal clips; the choice is stored in "
    assert lines[2].startswith(f"{data}{store.path / 'selection'}")
    assert len(lines) == 3


def test_a_kept_choice_runs_without_a_selection(store: FeatureStore, selections: list[Selection]) -> None:
    (first, lines), (second, _) = run(store), run(store, "emb")
    assert not selections
    assert [line.startswith("ensemble: an earlier choice of ") for line in lines] == [True]
    assert "to choose again, delete this folder" in lines[0]
    assert (first.kind, first.recipe, first.selection) == (second.kind, second.recipe, second.selection)
    shutil.rmtree(store.path / "selection")
    assert run(store)[0] == first


def test_a_view_beside_its_embedding_is_the_same_choice(store: FeatureStore, selections: list[Selection]) -> None:
    ensemble, lines = run(store, "emb", "emb@good")
    assert not selections
    assert ensemble == run(store)[0]
    assert [line.startswith("ensemble: an earlier choice of ") for line in lines] == [True]


def test_a_choice_that_holds_the_default_says_so_and_is_kept(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = "best 10 and the default"
    monkeypatch.setattr("ensemble.selection.select.strategies", lambda validation: {half: STRATEGIES[half]})
    shutil.rmtree(store.path / "selection")
    ensemble, lines = run(store)
    count = len(ensemble.recipe.members)
    assert count > 10
    assert lines[0].startswith(
        f"chosen: {count} members, from 20 combinations of view and detector and the fixed default ({half}): emb@good "
    )
    again, lines = run(store)
    assert again == ensemble
    assert lines[0].startswith(f"ensemble: an earlier choice of {count} members ({half}), stored in ")


def test_a_choice_in_a_store_without_target_clips_is_kept(tmp_path: Path, selections: list[Selection]) -> None:
    sourced = recordings(targets=0)
    store = selection_store(tmp_path / "sourced", [*sourced, *variants(sourced)])
    first, again = run(store), run(store)
    assert first[0].kind == "chosen"
    assert first[0].recipe.domains == "pooled"
    assert again[0] == first[0]
    assert len(selections) == 1


def changed_rows(store: FeatureStore) -> FeatureStore:
    more = recordings(22)
    return selection_store(store.path, [*more, *variants(more), *labelled()])


def test_what_changes_the_choice_selects_again(
    store: FeatureStore, selections: list[Selection], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, "emb@good")
    run(store, "emb@blind", "emb@good")
    run(store, perturb=True)
    assert len(selections) == 3
    run(store, "emb@good", "emb@blind"), run(store, "emb@good"), run(store, perturb=True), run(store)
    assert len(selections) == 3, "each is kept beside the others; the order of -e does not matter"
    monkeypatch.setattr(kept, "RULES", kept.RULES + 1)
    run(store)
    assert len(selections) == 4
    assert not selections[-1].computed, "scores do not follow from the rules of the choice"
    monkeypatch.setattr("ensemble.selection.candidates.GRID", TABLES[:2])
    run(store)
    assert len(selections) == 5
    earlier = set((store.path / "selection").glob("*/key.json"))
    run(changed_rows(store))
    assert len(selections) == 6
    (now,) = (store.path / "selection").glob("*/key.json")
    assert now not in earlier, "choices of rows that the store has no more are removed"
    files = {path.stem for path in (store.path / "selection" / "selection-cache").iterdir()}
    assert set(json.loads(now.read_text())["scores"]) <= files
    assert json.loads(now.read_text())["scores"]
    assert selections[-1].clips["normal"] == 44


def test_a_second_embedding_leaves_the_scores_of_the_first(store: FeatureStore, selections: list[Selection]) -> None:
    shutil.rmtree(store.path / "selection")
    run(store)
    run(selection_store(store.path, CLIPS, name="more"))
    assert selections[0].computed == 20 + 12, "the candidates, and members of the default that are none"
    assert selections[1].computed == 20, "candidates of the new embedding, which the default leaves out as a copy"
    assert run(store, "emb")[1][0].startswith("ensemble: an earlier choice of"), "the earlier choice is still there"


def test_an_embedding_that_takes_no_part_is_named(store: FeatureStore) -> None:
    lines = run(selection_store(store.path, [*recordings(), *labelled()], name="bare"))[1]
    assert lines[0].startswith(
        "note: data, marks or options have changed since the stored choice; an ensemble is chosen again"
    )
    assert lines[1].startswith(
        "note: bare is not used in the choice: it has no generated anomalies; build it with --ano"
    )
    assert len(lines) == 5


@pytest.mark.parametrize("clips", [[*recordings(), *labelled()], recordings()])
def test_without_anomalies_the_default_runs_and_the_line_says_what_to_do(clips: list, tmp_path: Path) -> None:
    store = selection_store(tmp_path / "store", clips)
    ensemble, lines = run(store)
    assert (ensemble.kind, ensemble.recipe, ensemble.selection) == ("default", default_recipe(store), None)
    assert ensemble.as_json()["reason"] == "the store has no generated anomalies to choose by"
    (line,) = lines
    assert line.startswith("ensemble: the fixed default: the store has no generated anomalies")
    assert f"`featstore build DATA {store.path} --anomalies auto`" in line
    assert "--perturb" in line
    assert not (store.path / "selection").exists()


def test_perturbed_embeddings_choose_where_there_are_no_anomalies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ensemble.selection.select.chosen_by", lambda *_: ("best 3, fisher", "it is clearly the best"))
    ensemble, lines = run(selection_store(tmp_path / "store", recordings()), perturb=True)
    assert (ensemble.kind, len(ensemble.recipe.members)) == ("chosen", 3)
    assert lines[2].startswith("data: 600 perturbed clips of 5 kinds and 40 normal clips; ")


def test_too_few_clips_give_the_default(tmp_path: Path) -> None:
    clips = recordings(1, targets=0)
    ensemble, lines = run(selection_store(tmp_path / "store", [*clips, *variants(clips)]))
    assert ensemble.kind == "default"
    assert lines[0].startswith("ensemble: the fixed default: no section has two training clips")


def test_a_default_that_is_kept_by_the_selection_is_kept_in_the_store_too(
    store: FeatureStore, selections: list[Selection], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(store.path / "selection")
    monkeypatch.setattr("ensemble.selection.select.chosen_by", lambda *_: (DEFAULT, "all too easy: it is kept"))
    for _ in range(2):
        ensemble, lines = run(store)
        assert (ensemble.kind, ensemble.recipe) == ("default", default_recipe(store))
        assert ensemble.reason == "all too easy: it is kept"
        assert lines[0].startswith("ensemble: the fixed default: all too easy: it is kept; ")
        assert len(lines) == 1
    assert len(selections) == 1


def refuse_writes(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)


def put_a_file_there(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.path / "selection").write_text("")


def put_a_link_there(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.path / "elsewhere").mkdir()
    (store.path / "selection").symlink_to(store.path / "elsewhere")


@pytest.mark.parametrize(
    ("hinder", "why"),
    [(refuse_writes, "No space left"), (put_a_file_there, "File exists"), (put_a_link_there, "symbolic link")],
)
def test_a_choice_that_cannot_be_kept_is_made_all_the_same(
    hinder: Callable[..., None], why: str, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(store)[0]
    shutil.rmtree(store.path / "selection")
    hinder(store, monkeypatch)
    ensemble, lines = run(store)
    monkeypatch.undo()
    assert (ensemble.kind, ensemble.recipe) == ("chosen", expected.recipe)
    assert len(lines) == 3
    assert "the choice is not stored, so the next run chooses again: " in lines[2]
    assert why in lines[2]
    assert not (store.path / "elsewhere").exists() or not list((store.path / "elsewhere").iterdir())


def test_a_damaged_choice_is_named_and_made_again(store: FeatureStore, selections: list[Selection]) -> None:
    expected, _ = run(store)
    (path,) = (store.path / "selection").glob("*/recipe.toml")
    path.write_text(path.read_text().replace("weight = 1.0", "weight = 9.0"))
    ensemble, lines = run(store)
    assert ensemble.recipe == expected.recipe
    assert f"{path.parent}: not a choice that can be run: recipe.toml has changed" in lines[0]
    assert lines[0].startswith("note: ")
    assert len(lines) == 4
    assert len(selections) == 1
    assert not selections[0].computed, "the scores are still there"
    assert len(run(store)[1]) == 1


def _choose(path: Path, barrier: object) -> None:
    from ensemble.selection import candidates

    candidates.GRID = TABLES  # type: ignore[assignment]
    barrier.wait()  # type: ignore[attr-defined]
    run(FeatureStore.open(path))


def test_two_processes_choose_at_the_same_time(store: FeatureStore, selections: list[Selection]) -> None:
    expected, _ = run(store)
    shutil.rmtree(store.path / "selection")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [context.Process(target=_choose, args=(store.path, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert run(store)[0] == expected
    assert not selections, "what the two kept is whole"


def test_the_store_is_intact_beside_its_choices(store: FeatureStore, selections: list[Selection]) -> None:
    assert notes(store.path) == verify(store.path) == repair(store.path) == []
    kept_files = sorted((store.path / "selection").rglob("*"))
    selection_store(store.path, CLIPS, name="more")
    compact(store.path)
    assert sorted((store.path / "selection").rglob("*")) == kept_files
    run(FeatureStore.open(store.path), "emb")
    assert not selections, "a store without superseded rows keeps its shards"


@pytest.mark.parametrize(
    "options",
    [
        {"default": True, "recipe": Path("r")},
        {"default": True, "detectors": ("knn",)},
        {"default": True, "ensemble": True},
        {"perturb": True, "default": True},
        {"perturb": True, "ensemble": True, "detectors": ("knn",)},
        {"perturb": True, "recipe": Path("r")},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict) -> None:
    with pytest.raises(OptionError, match="leave "):
        RunRequest(**options)


def detect(*args: object) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def test_results_say_which_ensemble_ran_and_hold_its_selection(store: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = json.loads(detect(store.path, "--ensemble", "-o", out, "--json").stdout)
    assert (
        summary["ensemble"]
        == summary["metrics"]["ensemble"]
        == json.loads((out / "metrics.json").read_text())["ensemble"]
    )
    assert summary["ensemble"]["kind"] == "chosen"
    (path,) = (store.path / "selection").glob("*/selection.json")
    assert (out / "selection.json").read_bytes() == path.read_bytes()
    assert str(out / "selection.json") in summary["files"]
    page = tmp_path / "page.html"
    detect("report", store.path, "--recipe", out / "recipe.toml", "--selection", out / "selection.json", "-o", page)
    named, kept_page = page.read_text(), tmp_path / "kept.html"
    assert "ensemble: an earlier choice of" in detect("report", store.path, "-o", kept_page).stderr
    assert "lead over the fixed default" in named
    assert "lead over the fixed default" in kept_page.read_text()
    again = json.loads(detect(store.path, "--recipe", out / "recipe.toml", "-o", out, "--json").stdout)
    assert again["ensemble"] == {"kind": "recipe", "reason": f"named by --recipe {out / 'recipe.toml'}"}
    assert (out / "selection.json").exists(), "the recipe still follows from it"
    fixed = json.loads(detect(store.path, "--default", "-o", out, "--json").stdout)
    assert fixed["ensemble"] == {"kind": "default", "reason": "named by --default"}
    assert not (out / "selection.json").exists(), "it is not what the default follows from"


@pytest.mark.parametrize("report", [False, True])
def test_named_detectors_and_the_default_need_no_selection(
    report: bool, store: FeatureStore, selections: list[Selection], tmp_path: Path
) -> None:
    shutil.rmtree(store.path / "selection")
    for options in (["--ensemble", "-d", "knn"], ["--default"], ["-d", "knn", "-e", "emb@good"]):
        args = ["report", store.path, "-o", tmp_path / "page.html"] if report else [store.path, "-o", tmp_path / "out"]
        assert "ensemble:" not in detect(*args, *options).stderr
    assert not selections
    assert not (store.path / "selection").exists()


def test_clips_that_hang_together_are_a_choice_of_their_own(store: FeatureStore, tmp_path: Path) -> None:
    clips = [replace(clip, attributes={"shift": clip.path[-5]}) for clip in CLIPS]
    own = selection_store(tmp_path / "own", clips)
    run(own)
    for said in ("chosen: ", "ensemble: an earlier choice of"):
        result = detect(own.path, "--ensemble", "--group", "shift", "-o", tmp_path / "out")
        assert said in result.stderr
        assert 'group = "shift"' in (tmp_path / "out" / "recipe.toml").read_text()
    assert len(list((own.path / "selection").glob("*/key.json"))) == 2


def test_score_files_join_the_chosen_members(store: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / "first"
    detect(store.path, "-d", "knn", "-e", "emb@good", "-o", out)
    clips = store.clips("emb")
    keys = [key for key, variant in zip(clips.keys(), clips.column("variant").tolist(), strict=True) if not variant]
    (tmp_path / "theirs.csv").write_text("clip,score\n" + "".join(f"{key},{i % 7}\n" for i, key in enumerate(keys)))
    summary = json.loads(
        detect(store.path, "--ensemble", "--scores", tmp_path / "theirs.csv", "-o", out, "--json").stdout
    )
    assert summary["ensemble"]["kind"] == "chosen"
    text = (out / "recipe.toml").read_text()
    assert text.count("[[member]]") == len(run(store)[0].recipe.members) + 1
    assert "theirs.csv" in text


def test_a_selection_that_fails_gives_the_default(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> Selection:
        raise DataError("no candidate could be scored")

    monkeypatch.setattr(chosen, "select", fail)
    ensemble, lines = run(store, "emb@good")
    assert ensemble.kind == "default"
    assert ensemble.recipe == default_recipe(store, ("emb@good",))
    assert lines[-1:] == ["ensemble: the fixed default: no candidate could be scored"]
