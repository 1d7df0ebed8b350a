"""A fitted recipe in a file that has a right checksum, but was changed by hand: refused by name, and nothing is run."""

import copy
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted_plant import MEMBERS, VIEWS, listed, store_of

import embedders.devices  # noqa: F401 - every load asks for the device; the tests look for other imports
from ensemble.fitting.fit import fit
from ensemble.fitting.fitted import Fitted
from ensemble.recipe import Recipe
from ensemble.scoring.file import read_model, write_model
from ensemble.scoring.model import Model
from ensemble.scoring.sources import Source, Sources
from ensemble.scoring.stored import to_stored
from featstore.errors import DataError

Meta = dict[str, Any]
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    store = store_of(tmp_path_factory.mktemp("store") / "s", listed(machines=["fan"]))
    return fit(store, Recipe(MEMBERS, domains="predicted", group="day"), workers=0)[0]


@pytest.fixture(scope="module")
def content(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Meta, Arrays]:
    path = tmp_path_factory.mktemp("model") / "a.model"
    Model(fitted, Sources({"v": Source("logmel"), "h": Source("twfr")}), seconds=2.0).save(path)
    return read_model(path)


def refuse(tmp_path: Path, content: tuple[Meta, Arrays], change: Callable[[Meta, Arrays], None]) -> str:
    """The message for a model with a change; nothing is imported by it, and little is allocated."""
    meta, arrays = copy.deepcopy(content[0]), dict(content[1])
    change(meta, arrays)
    path = tmp_path / "b.model"
    write_model(path, {key: value for key, value in meta.items() if key not in ("format", "version")}, arrays)
    modules = set(sys.modules)
    tracemalloc.start()
    with pytest.raises(DataError) as error:
        Model.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(sys.modules) <= modules
    assert peak < 5_000_000
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_holds_the_same_recipe(fitted: Fitted, content: tuple[Meta, Arrays], tmp_path: Path) -> None:
    write_model(
        tmp_path / "a.model", {k: v for k, v in content[0].items() if k not in ("format", "version")}, content[1]
    )
    model = Model.load(tmp_path / "a.model")
    np.testing.assert_array_equal(model.fitted.honest, fitted.honest)
    again, arrays = to_stored(model.fitted)
    assert json.dumps(again, sort_keys=True) == json.dumps(to_stored(fitted)[0], sort_keys=True)
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: content[1][name].tobytes() for name in arrays
    }
    assert (model.seconds, model.sources.by_name) == (2.0, {"v": Source("logmel"), "h": Source("twfr")})
    assert model.sections == [("fan", "00"), ("fan", "01")]
    assert (model.hop_s, model.window_s) == (1.0, None)


def own_arrays(content: tuple[Meta, Arrays]) -> list[str]:
    """All arrays but those that a detector has learned, which belong to `detectors.saved`."""
    honest = {f"detectors/{node['reference_scores']}" for node in content[0]["detectors"].values()}
    return sorted(name for name in content[1] if not name.startswith("detectors/") or name in honest)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "missing": lambda x: None,
    "one row less": lambda x: np.atleast_1d(x)[:-1],
    "one axis more": lambda x: x[None],
    "another type": lambda x: x.astype(np.int32 if x.dtype.kind == "f" else np.float64),
    "empty": lambda x: np.atleast_1d(x)[:0],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_every_array_must_fit(tmp_path: Path, content: tuple[Meta, Arrays], kind: str) -> None:
    for name in own_arrays(content):
        changed = CHANGES[kind](content[1][name])

        def change(meta: Meta, arrays: Arrays, name: str = name, changed: np.ndarray | None = changed) -> None:
            del arrays[name]
            if changed is not None:
                arrays[name] = changed

        refuse(tmp_path, content, change)


def test_no_value_may_be_nan(tmp_path: Path, content: tuple[Meta, Arrays]) -> None:
    floats = [name for name in own_arrays(content) if content[1][name].dtype.kind == "f"]
    for name in [name for name in floats if name != "domains/held_out"]:

        def change(meta: Meta, arrays: Arrays, name: str = name) -> None:
            array = arrays[name].copy()
            array.flat[-1] = np.nan
            arrays[name] = array

        refuse(tmp_path, content, change)


def test_every_part_of_the_json_must_have_its_type(tmp_path: Path, content: tuple[Meta, Arrays]) -> None:
    names = [name for name in content[0] if name not in ("format", "version")]
    assert set(names) == {
        "recipe", "embeddings", "banks", "detectors", "evidence", "domains", "normal", "sources", "seconds",
    }  # fmt: skip
    for name in names:
        for value in (0, 1e300, True, "x", "", [], [[]], {}, {"": {}}, [None, None], ["v", None], "[" * 100):
            refuse(tmp_path, content, lambda meta, arrays, n=name, v=value: meta.update({n: v}))  # type: ignore[misc]
        refuse(tmp_path, content, lambda meta, arrays, n=name: meta.pop(n))  # type: ignore[misc]


def recipe(old: str, new: str) -> Callable[[Meta, Arrays], None]:
    def change(meta: Meta, arrays: Arrays) -> None:
        assert old in meta["recipe"]
        meta["recipe"] = meta["recipe"].replace(old, new)

    return change


def tree(change: Callable[[dict[str, Any]], object]) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: change(meta["detectors"])  # type: ignore[return-value]


def embedding(**values: Any) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: meta["embeddings"]["v"].update(values)  # type: ignore[no-any-return]


def block(arrays: Arrays) -> None:
    arrays["blocks"] = np.zeros_like(arrays["blocks"])


WRONG: dict[str, tuple[Callable[[Meta, Arrays], Any], str]] = {
    "no toml": (recipe("[[member]]", "[[member"), "not a readable recipe"),
    "nested toml": (lambda meta, arrays: meta.update(recipe="a = " + "[" * 20_000), "not a valid model"),
    "unknown key": (recipe("threshold =", "os ="), "unknown key 'os'"),
    "unknown fusion": (recipe('fusion = "mean"', 'fusion = "os:system"'), "unknown fusion: 'os:system'"),
    "unknown threshold": (recipe('"quantile"', '"os:system"'), "os:system"),
    "unknown tail": (recipe('tail = "spread"', 'tail = "os:system"'), "tail = 'os:system'"),
    "a detector of one's own": (recipe('"knn:k=2"', '"os:system"'), "'os' is no detector of this project"),
    "another detector": (recipe('"knn:k=2"', '"knn:k=3"'), "its detector 0/0 is not v@low knn:k=3"),
    "a score file": (
        lambda meta, arrays: meta.update(recipe='[[member]]\ndetector = "scores:/etc/passwd"\n'),
        "no rows of scores|a score file cannot score",
    ),
    "a false-discovery rate": (recipe("fdr = 0.0", "fdr = 0.1"), "a false-discovery rate decides all"),
    "a rate out of range": (recipe("false_alarm_rate = 0.1", "false_alarm_rate = 2.0"), "false_alarm_rate = 2.0"),
    "a rate that is no number": (recipe("false_alarm_rate = 0.1", "false_alarm_rate = nan"), "false_alarm_rate = nan"),
    "weights of nothing": (
        lambda meta, arrays: meta.update(
            recipe=meta["recipe"].replace("weight = 1.0", "weight = 0.0").replace('"mean"', '"weighted_mean"')
        ),
        "weights must be finite",
    ),
    "domains that are not predicted": (recipe('"predicted"', '"pooled"'), "which its recipe does not predict"),
    "pooled sections": (recipe("pool_sections = false", "pool_sections = true"), "its banks are not those"),
    "no group": (recipe('group = "day"', 'group = ""'), "its blocks are not those of its recipe"),
    "one block": (lambda meta, arrays: block(arrays), "not a valid model"),
    "a view that is not there": (recipe(f'view = "{VIEWS[0]}"', 'view = "left"'), "no rows of v@left"),
    "an embedding that is not there": (lambda meta, arrays: meta["embeddings"].pop("h"), "no rows of h"),
    "a nested tree": (
        tree(lambda t: t.update({"0/0": json.loads("[" * 500 + "]" * 500)})),
        "levels|depth|nested|exactly",
    ),
    "a detector too many": (tree(lambda t: t.update({"9/9": t["0/0"]})), "one detector for every member"),
    "detectors in another order": (
        tree(lambda t: t.update({"0/0": t["0/1"], "0/1": t["0/0"]})),
        "its detector 0/[01] is not",
    ),
    "a class in the tree": (tree(lambda t: t["0/0"].update(detector="os:system")), "unknown detector"),
    "more features": (tree(lambda t: t["0/0"].update(features=13)), "detector"),
    "more features than memory": (tree(lambda t: t["0/0"].update(features=1 << 62)), "detector"),
    "a bank too many": (lambda meta, arrays: meta["banks"].append(["fan", "09"]), "its banks are not those"),
    "a bank twice": (lambda meta, arrays: meta["banks"].append(meta["banks"][0]), "its banks are not those"),
    "another bank": (lambda meta, arrays: meta["banks"].__setitem__(0, ["fan", "07"]), "its banks are not those"),
    "a larger embedding": (embedding(shape=[2, 1 << 28]), "rows of v|width|rows of"),
    "an endless embedding": (embedding(shape=[1 << 62, 1 << 62], views=[]), "shape|view|no rows of v"),
    "no channel": (embedding(channel="left"), "channel 'left'|built in one way"),
    "another field": (embedding(os="system"), "os"),
    "another way to build": (embedding(length="crop:1"), "must be built in one way"),
    "no number of seconds": (lambda meta, arrays: meta.update(seconds=-1.0), "its clips are -1.0 s long"),
    "an integer of seconds": (lambda meta, arrays: meta.update(seconds=2), "seconds is 2, expected float"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(tmp_path: Path, content: tuple[Meta, Arrays], name: str) -> None:
    import re

    change, words = WRONG[name]
    message = refuse(tmp_path, content, change)
    assert re.search(words, message), message


def with_source(**values: Any) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: meta["sources"]["v"].update(values)  # type: ignore[no-any-return]


WEIGHTS = {"name": "a.safetensors", "sha256": "0" * 64, "array": "weights/v/0"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"spec": "os:system"}, "neither of this project nor of an installed package"),
        ({"spec": "evil_module:Embedder"}, "neither of this project nor of an installed package"),
        ({"spec": "stgram:checkpoint=/etc/passwd"}, "does not name by their SHA-256"),
        ({"spec": "wav2vec2=facebook/wav2vec2-base"}, "does not name by their SHA-256"),
        ({"spec": "logmel:n_mels"}, "expected key=value"),
        ({"spec": 3}, "spec is 3"),
        ({"folder": 1}, "folder is 1"),
        ({"weights": {}}, "weights is {}"),
        ({"weights": [WEIGHTS]}, "'weights/v/0' is missing"),
        ({"weights": [WEIGHTS | {"array": "rows/v"}]}, "are no bytes"),
        ({"weights": [WEIGHTS | {"array": "clips/path"}]}, "are no bytes"),
        ({"weights": [WEIGHTS | {"sha256": "0"}]}, "sha256 is '0'"),
        ({"weights": [WEIGHTS | {"array": ""}, WEIGHTS | {"name": "b"}], "folder": True}, "only in part"),
        ({"weights": [WEIGHTS | {"array": ""}] * 2, "folder": True}, "listed twice"),
        ({"weights": [WEIGHTS | {"array": ""}, WEIGHTS | {"array": "", "name": "b"}]}, "no folder"),
        *[
            ({"weights": [WEIGHTS | {"name": name}]}, "the name of a path")
            for name in ("../a", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "a\\b", "a\n", "a" * 300)
        ],
    ],
    ids=str,
)
def test_embedders_of_a_hostile_model(
    tmp_path: Path, content: tuple[Meta, Arrays], monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], words: str
) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert words in refuse(tmp_path, content, with_source(**values))


def test_texts_that_are_not_utf8_are_kept(tmp_path: Path, content: tuple[Meta, Arrays]) -> None:
    arrays = dict(content[1])
    arrays["clips/path"] = arrays["clips/path"].copy()
    arrays["clips/path"][:, 0] = 0xFF
    meta = {key: value for key, value in content[0].items() if key not in ("format", "version")}
    write_model(tmp_path / "b.model", meta, arrays)
    assert Model.load(tmp_path / "b.model").fitted.train[0].path[0] == "\udcff"


@pytest.mark.parametrize("column", ["split", "domain", "label"])
def test_columns_of_choices_have_known_values(tmp_path: Path, content: tuple[Meta, Arrays], column: str) -> None:
    def change(meta: Meta, arrays: Arrays) -> None:
        arrays[f"clips/{column}"] = np.full_like(arrays[f"clips/{column}"], ord("x"))

    assert f"the column {column} of its clips has unknown values" in refuse(tmp_path, content, change)


def test_a_detector_of_ones_own_cannot_be_saved(fitted: Fitted, tmp_path: Path) -> None:
    from dataclasses import replace

    class Own:
        pass

    own = replace(fitted, detectors={bank: [Own(), *each[1:]] for bank, each in fitted.detectors.items()})  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"a\.model: .*Own"):
        Model(own, Sources({}), seconds=1.0).save(tmp_path / "a.model")
    assert not (tmp_path / "a.model").exists()
