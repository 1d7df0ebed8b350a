"""Trained networks in a model: weights inside, or outside by their SHA-256; what is missing or changed is named."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scored_plant import RATE, Plant, built, model_of
from small_models import CHECKPOINTS as PRETRAINED
from small_networks import CHECKPOINTS

from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from ensemble.scoring.model import Model
from ensemble.scoring.score import score_clips
from ensemble.scoring.sources import Maker, Source, Sources, WeightFile
from featstore import registry
from featstore.errors import DataError
from featstore.store import FeatureStore

NAMES = ("stgram", "mobilenetv2", "ae")
RECIPE = Recipe(tuple(Member(name, "knn:k=1") for name in NAMES))


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {name: CHECKPOINTS[name](folder) for name in NAMES}


@pytest.fixture(scope="module")
def store(plant: Plant, weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    lines = {name: f"{name}={path}" for name, path in weights.items()}
    return built(plant.root, tmp_path_factory.mktemp("trained") / "s", lines, machine="pump")


def lines(weights: dict[str, Path]) -> tuple[str, ...]:
    return tuple(f"{name}={path}" for name, path in weights.items())


@pytest.mark.parametrize("inside", [True, False])
def test_three_networks_score_as_a_detection_does(
    plant: Plant, store: FeatureStore, weights: dict[str, Path], tmp_path: Path, inside: bool
) -> None:
    expected = detect(store, RECIPE, workers=0)
    copies = {name: Path(shutil.copy(path, tmp_path)) for name, path in weights.items()}
    model = model_of(store, tmp_path / "m", RECIPE, lines(copies), inside)
    assert (tmp_path / "m").stat().st_size > (inside * sum(path.stat().st_size for path in copies.values()))
    if inside:
        for path in copies.values():
            path.unlink()
    outcomes = list(score_clips(model, plant.root, list(expected.clips), workers=0))
    scores = [outcome.verdict.score for outcome in outcomes if outcome.verdict]
    np.testing.assert_allclose(scores, expected.score, rtol=0, atol=1e-6)
    assert [outcome.verdict.anomaly for outcome in outcomes if outcome.verdict] == expected.decision.tolist()
    path = plant.root / expected.clips[0].path
    alone = model.score_file(path)[0].score
    assert alone == pytest.approx(expected.score[0], abs=1e-4), "networks round otherwise in batches"


def test_weights_outside_that_are_gone_or_changed_are_named(
    plant: Plant, store: FeatureStore, weights: dict[str, Path], tmp_path: Path
) -> None:
    copies = {name: Path(shutil.copy(path, tmp_path)) for name, path in weights.items()}
    model_of(store, tmp_path / "m", RECIPE, lines(copies), False)
    copies["stgram"].rename(tmp_path / "away")
    with pytest.raises(
        DataError, match=r"weights of stgram: .*stgram\.safetensors.*the model names them by their SHA-256"
    ):
        Model.load(tmp_path / "m", device="cpu").score_file(plant.files()[-1])
    copies["stgram"].write_bytes((tmp_path / "away").read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"weights of stgram: .* has SHA-256 .*, the model was fitted with"):
        Model.load(tmp_path / "m", device="cpu").score_file(plant.files()[-1])
    copies["stgram"].unlink()
    copies["stgram"].symlink_to(tmp_path / "away")
    with pytest.raises(DataError, match=r"weights of stgram: .*symbolic link"):
        Model.load(tmp_path / "m", device="cpu").score_file(plant.files()[-1])


def test_unpacked_weights_go_with_the_model(store: FeatureStore, weights: dict[str, Path], tmp_path: Path) -> None:
    model = model_of(store, tmp_path / "m", RECIPE, lines(weights), True)
    folder = Path(model.lines["stgram"].partition("=")[2]).parent.parent
    assert folder.is_dir()
    del model
    assert not folder.exists()


def test_a_folder_of_weights(plant: Plant, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = PRETRAINED["hubert"](tmp_path)
    line = f"hubert={folder}"
    store = built(plant.root, tmp_path / "s", {"hubert": line}, machine="pump")
    recipe = Recipe((Member("hubert", "knn:k=1"),))
    path = plant.files()[-1]
    inside = model_of(store, tmp_path / "in", recipe, (line,), True)
    outside = model_of(store, tmp_path / "out", recipe, (line,), False)
    expected = detect(store, recipe, workers=0)
    place = expected.clips.keys().index(path.relative_to(plant.root).as_posix())
    for model in (inside, outside):
        assert model.score_file(path)[0].score == pytest.approx(expected.score[place], abs=1e-6)
    shutil.rmtree(folder)
    assert Model.load(tmp_path / "in", device="cpu").score_file(path)[0].score == pytest.approx(
        expected.score[place], abs=1e-6
    )
    with pytest.raises(DataError, match="weights of hubert"):
        Model.load(tmp_path / "out", device="cpu").score_file(path)


def test_parameters_go_into_the_line_of_text(plant: Plant, weights: dict[str, Path], tmp_path: Path) -> None:
    line = f"ae:checkpoint={weights['ae']},output=embedding"
    source = Sources.of(
        built(plant.root, tmp_path / "s", {"a": line}, machine="pump").embeddings, (line,), inside=False
    ).by_name["a"]
    assert (source.spec, source.path) == ("ae:output=embedding", str(weights["ae"]))
    assert source.line(Path("/x")) == "ae:output=embedding,checkpoint=/x"
    assert Source("ae").line(Path("/x")) == "ae=/x"
    assert Source("twfr:r=0.9").line(None) == "twfr:r=0.9"


def test_a_line_must_make_an_embedding_of_the_recipe(
    store: FeatureStore, weights: dict[str, Path], tmp_path: Path
) -> None:
    infos = {"ae": store.info("ae")}
    with pytest.raises(
        DataError, match="ae: its config alone does not make its embedder; give the -e that built it as"
    ):
        Sources.of(infos, (), inside=None)
    with pytest.raises(DataError, match=r"--embedder stgram=.*: it has the fingerprint .*, the recipe needs ae \("):
        Sources.of(infos, (f"stgram={weights['stgram']}",), inside=None)
    for line, words in (
        ("aee=x", "did you mean ae"),
        (f"ae={tmp_path / 'none'}", "no such checkpoint"),
        ("ae", "needs a checkpoint"),
    ):
        with pytest.raises(DataError, match=words):
            Sources.of(infos, (line,), inside=None)


def test_a_class_of_ones_own_is_refused_because_no_model_loads_it(store: FeatureStore) -> None:
    for infos, lines in (({"mine:Ok": store.info("ae")}, ()), ({"ae": store.info("ae")}, ("mine:Ok",))):
        with pytest.raises(DataError, match=r"^mine:Ok: a model runs only .* entry point featstore\.embedders"):
            Sources.of(infos, lines, inside=None)
    with pytest.raises(DataError, match=r"as --embedder, for example --embedder ae=WEIGHTS$"):
        Sources.of({"ae:code=3": store.info("ae")}, (), inside=None)
    for name in ("logmel:n_mels=7", "other"):
        with pytest.raises(DataError, match=r"give the -e that built it as --embedder$"):
            Sources.of({name: replace(store.info("ae"), config={})}, (), inside=None)


def test_json_and_back() -> None:
    files = (WeightFile("a.safetensors", "0" * 64, "weights/x/0"),)
    source = Source("stgram", "/a.safetensors", weights=files)
    assert Source.from_json(source.as_json()) == source


def test_embedders_of_a_model_ask_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fine-tuned network names an encoder in its own file, which could be one of the hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    seen: list[str | None] = []

    class Embedder:
        fingerprint = "f"

    def create(spec: str) -> Embedder:
        seen.append(os.environ.get("HF_HUB_OFFLINE"))
        return Embedder()

    Maker(registry.Factory(create, "x"), "x", "f")()
    assert seen == ["1"]
    assert "HF_HUB_OFFLINE" not in os.environ
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    Maker(registry.Factory(create, "x"), "x", "f")()
    assert os.environ["HF_HUB_OFFLINE"] == "0"
    with pytest.raises(
        DataError, match="x: the embedder of this program has the fingerprint f, the model was fitted with g"
    ):
        Maker(registry.Factory(create, "x"), "x", "g")()


def test_a_line_that_makes_no_embedder_is_named(model: Model) -> None:
    hostile = Model(
        model.fitted, Sources(dict.fromkeys(model.sources.by_name, Source("logmel:os=system"))), seconds=1.0
    )
    with pytest.raises(DataError, match="logmel: unknown parameter of logmel: 'os'"):
        hostile.score(np.zeros(RATE), RATE, machine="pump")


def test_a_hub_name_in_a_model_is_not_fetched(plant: Plant, model: Model) -> None:
    sources = {name: Source("wav2vec2", "facebook/wav2vec2-base") for name in model.sources.by_name}
    hostile = Model(model.fitted, Sources(sources), seconds=1.0)
    with pytest.raises(DataError, match="wav2vec2 needs weights"):
        hostile.score(np.zeros(RATE), RATE, machine="pump")
