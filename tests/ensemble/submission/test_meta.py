"""The metadata file: fields and results of every year, and what the software knows about a system."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.recipe import Member, Recipe
from ensemble.submission.authors import Stated
from ensemble.submission.facts import SystemFacts, facts_of
from ensemble.submission.meta import nulls, write_meta
from featstore.clip import Clip
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable

FACTS = SystemFacts("knn on twfr", "knn", {"acoustic_features": "twfr", "attribute_usage": "none"}, 0)
SINCE_2020 = {
    "input_sampling_rate",
    "data_augmentation",
    "front_end",
    "acoustic_features",
    "embeddings",
    "machine_learning_method",
    "aggregation_method",
    "ensemble_method_subsystem_count",
    "decision_making",
    "external_data_usage",
    "development_data_usage",
}


def development(year: int, machines: tuple[str, ...] = ("fan", "3DPrinter", "no", "a: b")) -> Evaluation:
    """Metrics of two sections of every machine."""
    clips = ClipTable.from_clips(
        [
            Clip(f"{machine}/{section}/{domain}{i}{label}.wav", machine, section, "test", domain, label)
            for machine in machines
            for section in ("00", "01")
            for domain in ("source", "target")
            for i in range(3)
            for label in ("normal", "anomaly")
        ]
    )
    scores = np.random.default_rng(0).normal(size=len(clips))
    return evaluate(ScoreTable("s", tuple(clips.keys()), scores), Labels.of(clips), year)


def written(folder: Path, year: int, *more: object) -> dict:
    path = write_meta(folder, year, FACTS, *more)
    assert path == folder / f"{folder.name}.meta.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("year", range(2020, 2027))
def test_the_fields_of_every_year(tmp_path: Path, year: int) -> None:
    meta = written(tmp_path, year)
    later = {"domain_adaptation_method"} if year >= 2021 else set()
    later |= {"domain_generalization_method", "attribute_usage"} if year >= 2022 else set()
    assert set(meta["system"]["description"]) == SINCE_2020 | later
    assert list(meta) == ["submission", "system", "results"]
    assert list(meta["submission"]) == ["label", "name", "abbreviation", "authors"]
    assert list(meta["system"]) == ["description", "complexity", "external_datasets", "source_code"]
    assert meta["submission"]["label"] == tmp_path.name
    assert meta["results"] == {"development_dataset": None}
    assert meta["system"]["complexity"] == {"total_parameters": 0}


def test_results_are_means_over_sections_in_percent_under_the_names_of_the_year(tmp_path: Path) -> None:
    for year in range(2020, 2027):
        found = development(year)
        results = written(tmp_path, year, None, found)["results"]["development_dataset"]
        assert set(results) == {"fan", "3DPrinter", "no", "a: b"}
        rows = [row.values for row in found.rows if row.machine == "no"]
        if year == 2020:
            assert results["no"]["averaged_pauc"] == round(50 * sum(row["pauc"] for row in rows), 2)
        elif year == 2021:
            values = [row[name] for row in rows for name in ("auc_source", "auc_target")]
            assert results["no"]["harmonic_mean_auc"] == round(400 / sum(1 / value for value in values), 2)
        else:
            name = "harmonic_mean_auc_target" if year == 2022 else "auc_target"
            assert results["no"][name] == round(200 / sum(1 / row["auc_target"] for row in rows), 2)


def test_what_authors_state_goes_before_what_is_known(tmp_path: Path) -> None:
    author = {"lastname": "!!null", "firstname": "a: b", "email": "x", "corresponding": True, "affiliation": {}}
    system = {"acoustic_features": "mine", "total_parameters": 7, "external_datasets": [{"name": "A", "url": None}]}
    meta = written(tmp_path, 2026, Stated("Own", "O", (author,), system))
    assert meta["submission"]["authors"][0]["lastname"] == "!!null"
    assert (meta["submission"]["name"], meta["submission"]["abbreviation"]) == ("Own", "O")
    assert meta["system"]["description"]["acoustic_features"] == "mine"
    assert meta["system"]["complexity"]["total_parameters"] == 7
    assert [name for name in nulls(meta) if "external" in name] == [
        "system.description.external_data_usage",
        "system.external_datasets[0].url",
    ]


INFOS = {
    "logmel": EmbeddingInfo("logmel", (2,), "float32", "a" * 64, {"n_mels": 128}, sample_rate_hz=16000),
    "beats": EmbeddingInfo("beats", (2,), "float32", "b" * 64, {"weights_sha256": "c"}, sample_rate_hz=16000),
    "stgram": EmbeddingInfo("stgram", (2,), "float32", "d" * 64, {"weights": "e", "parameters": 12}, (), 22050),
    "other": EmbeddingInfo("other", (2,), "float32", "f" * 64, {"imported": True}),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    clips = ClipTable.from_clips([Clip("fan/train/a.wav", "fan", "00", "train")])
    shards = [ShardData(info, clips, np.ones((1, 2), "f4"), {}, []) for info in INFOS.values()]
    with StoreWriter(tmp_path_factory.mktemp("facts") / "s") as writer:
        return writer.commit(shards)


def facts(store: FeatureStore, *members: Member, **recipe: object) -> SystemFacts:
    return facts_of(store, Recipe(members, **recipe))  # type: ignore[arg-type]


def test_one_detector(store: FeatureStore) -> None:
    found = facts(store, Member("logmel", "knn:k=2"))
    assert (found.name, found.abbreviation, found.total_parameters) == ("knn on logmel", "knn", 0)
    assert found.description["input_sampling_rate"] == "16kHz"
    assert found.description["ensemble_method_subsystem_count"] is None
    assert found.description["embeddings"] is None
    assert found.description["decision_making"] == "quantile of normal training scores at a false-alarm rate of 0.1"


def test_an_ensemble_of_encoders(store: FeatureStore) -> None:
    members = (Member("stgram", "mahalanobis"), Member("logmel", "knn"), Member("logmel", "knn:k=2"))
    found = facts(store, *members, fusion="mean", domains="predicted", fdr=0.05)
    assert found.total_parameters == 12
    assert found.name == "mean of 3 detectors"
    assert found.description["input_sampling_rate"] == "16kHz, 22.05kHz"
    assert found.description["acoustic_features"] == "stgram, logmel"
    assert found.description["machine_learning_method"] == "mahalanobis, knn"
    assert found.description["ensemble_method_subsystem_count"] == 3
    assert found.description["decision_making"] == "mean of the members, false-discovery rate 0.05"
    assert found.description["domain_generalization_method"] == "predicted domain"


@pytest.mark.parametrize("name", ["beats", "other"])
def test_parameters_of_unknown_number_are_null(store: FeatureStore, name: str) -> None:
    found = facts(store, Member(name, "knn"), Member("stgram", "knn"))
    assert found.total_parameters is None
    assert found.description["external_data_usage"] == ("pre-trained model" if name == "beats" else None)


def test_a_class_of_ones_own_is_named_whole(store: FeatureStore) -> None:
    found = facts(store, Member("logmel", "my_median:Median:power=2"))
    assert found.description["machine_learning_method"] == "my_median:Median"
