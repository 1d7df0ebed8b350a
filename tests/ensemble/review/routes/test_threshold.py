"""The part threshold: its numbers are those of the results, and a saved threshold holds everywhere at once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from large_results import large_scored
from review_plant import session_of
from selection_store import labelled, recordings, selection_store, variants
from starlette.testclient import TestClient

from ensemble.page.scored import scored_of
from ensemble.recipe import Member, Recipe
from ensemble.review.saved import FILE, saved_thresholds
from ensemble.review.server.app import application
from ensemble.review.session import Session
from ensemble.run import detect
from featstore.clip import Clip
from featstore.store import FeatureStore

HOSTILE = "<script>'\"&"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path, data=False)


@pytest.fixture
def client(session: Session) -> Iterator[TestClient]:
    with TestClient(application(session)) as client:
        yield client


def scores(client: TestClient, machine: str = "fan", section: str = "00") -> dict[str, object]:
    answer = client.get("/threshold/scores", params={"machine": machine, "section": section})
    assert answer.status_code == 200, answer.text
    values: dict[str, object] = answer.json()
    return values


def test_the_page_names_every_section_and_the_command(client: TestClient, session: Session) -> None:
    text = client.get("/parts/threshold").text
    assert 'data-names=\'["fan", "01"]\'' in text
    results = session.results
    command = f"--recipe {results / 'recipe.toml'} --threshold {results / FILE} -o {results}</pre>"
    assert f"detect {session.path} {command}" in text


def test_every_step_has_the_counts_of_the_server(client: TestClient) -> None:
    answer = scores(client)
    values, counts = answer["values"], answer["counts"]
    assert isinstance(values, list)
    assert isinstance(counts, list)
    assert len(values) == len(counts) == len(answer["rates"]) == len(answer["times"])  # type: ignore[arg-type]
    for step in (0, len(values) // 2, -1):
        one = client.get("/threshold/at", params={"machine": "fan", "section": "00", "value": values[step]}).json()
        assert one["counts"] == counts[step]
        assert one["rates"] == answer["rates"][step]  # type: ignore[index]
    assert counts[-1][0] == 0
    assert answer["week"] is None
    assert answer["generated"]["state"] in ("computing", "none")  # type: ignore[index]


def test_a_saved_threshold_holds_at_once_and_goes_again(client: TestClient, session: Session) -> None:
    run, other = session.scored, scores(client, section="01")["present"]
    value = float(np.sort(run.score[run.rows_of("fan", "00")])[-4])
    answer = client.post("/threshold", json={"machine": "fan", "section": "00", "value": value})
    assert answer.status_code == 200, answer.text
    assert saved_thresholds(session.results) == {("fan", "00"): value}
    assert sum(item.reported for item in session.items if item.section == "00") == 3
    assert session.scored.decision[run.rows_of("fan", "00")].sum() == 3
    now = scores(client)
    assert now["present"] == [3, 3, None, None]
    assert now["saved"] == value
    assert [line["value"] for line in now["lines"]] == [value]  # type: ignore[attr-defined]
    assert scores(client, section="01")["present"] == other
    client.post("/threshold", json={"machine": "fan", "section": "01", "value": 0.5})
    client.post("/threshold", json={"machine": "fan", "section": "00", "value": None})
    assert saved_thresholds(session.results) == {("fan", "01"): 0.5}
    client.post("/threshold", json={"machine": "fan", "section": "01", "value": None})
    assert not (session.results / FILE).exists()
    assert session.scored is run


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"machine": "fan", "section": "02", "value": 0.5}, 404, "no section '02' of machine 'fan'"),
        ({"machine": 1, "section": "00", "value": 0.5}, 400, "machine: expected a text, got a number"),
        ({"machine": "fan", "section": "00", "value": "0.5"}, 400, "value: expected a number, got a text"),
        ({"machine": "fan", "section": "00", "value": 10**400}, 400, "finite number"),
        ({"machine": "fan", "section": "00", "value": True}, 400, "value: expected a number"),
        ({"machine": "fan", "section": "00", "value": float("nan")}, 400, "finite number"),
        ({"machine": "fan", "section": "00", "value": 2}, 422, "between 0 and 1"),
        ([], 400, "expected a JSON object"),
    ],
)
def test_a_bad_threshold_changes_nothing(
    client: TestClient, session: Session, body: object, status: int, words: str
) -> None:
    run = session.scored
    answer = client.post("/threshold", content=json.dumps(body))
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert session.scored is run
    assert not (session.results / FILE).exists()


@pytest.mark.parametrize("value", ["", "x", "nan", "1e999"])
def test_a_bad_value_is_told(client: TestClient, value: str) -> None:
    answer = client.get("/threshold/at", params={"machine": "fan", "section": "00", "value": value})
    assert (answer.status_code, answer.json()["error"]) == (400, f"value: expected a finite number, got {value!r}")


@pytest.mark.parametrize("value", ["0", "1", "1.01", "5", "-1"])
def test_a_value_that_no_fused_score_has_is_refused(client: TestClient, value: str) -> None:
    answer = client.get("/threshold/at", params={"machine": "fan", "section": "00", "value": value})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("value: expected a number between 0 and 1, as fused scores are, got")


def test_scores_of_a_detector_have_no_bounds(tmp_path: Path) -> None:
    session = Session(tmp_path, tmp_path, replace(large_scored(400), bounded=False))
    with TestClient(application(session)) as client:
        answer = client.get("/threshold/at", params={"machine": "fan", "section": "00", "value": "5"})
        assert answer.status_code == 200, answer.text


def test_the_last_week_is_shown_where_times_are_known(tmp_path: Path) -> None:
    with TestClient(application(Session(tmp_path, tmp_path, large_scored(4000)))) as client:
        answer = scores(client)
        assert answer["week"]["clips"] == answer["clips"]  # type: ignore[index]
        assert answer["present"][:2] == answer["present"][2:]  # type: ignore[index]
        assert len(json.dumps(answer)) < 100_000


def test_generated_anomalies_are_counted_when_they_are_computed(tmp_path: Path) -> None:
    store = selection_store(tmp_path / "store", [*recordings(), *variants(recordings()), *labelled()])
    recipe = Recipe((Member("emb", "knn:k=1", "good"), Member("emb", "mahalanobis", "good")))
    app = application(Session(store.path, tmp_path, scored_of(detect(store, recipe), title="store")))
    with TestClient(app) as client:
        scores(client)
        app.state.generated.wait(60)
        answer = scores(client)
        assert answer["generated"] == {"state": "ready", "reason": "", "clips": 160}
        found = answer["found"]
        assert isinstance(found, list)
        assert found == sorted(found, reverse=True)
        assert found[0] > 150
        one = client.get("/threshold/at", params={"machine": "fan", "section": "00", "value": answer["values"][200]})  # type: ignore[index]
        assert one.json()["found"] == found[200] == sum(count for _, count, _ in one.json()["kinds"])


def test_nothing_is_saved_into_the_results_of_another_run(tmp_path: Path) -> None:
    first = session_of(tmp_path, data=False)
    kept = first.results / "page.safetensors"
    kept.write_bytes(b"one run")
    session = Session(first.path, first.results, first.scored)
    with TestClient(application(session)) as client:
        given = {"machine": "fan", "section": "00", "value": 0.5}
        assert client.post("/threshold", json=given).status_code == 200
        (first.results / FILE).unlink()
        (first.results / "new").write_bytes(b"another run")
        (first.results / "new").rename(kept)
        answer = client.post("/threshold", json=given)
        assert answer.status_code == 409
        assert answer.json()["error"].endswith("start `detect review` again to see them.")
        assert not (first.results / FILE).exists()
        assert "holds the results of another run now" in client.get("/parts/overview").text


def test_a_store_without_anomalies_says_so(client: TestClient) -> None:
    scores(client)
    client.app.state.generated.wait(60)  # type: ignore[attr-defined]
    answer = scores(client)["generated"]
    assert answer["state"] == "none"  # type: ignore[index]
    assert "has no generated anomalies" in answer["reason"]  # type: ignore[index]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    odd = "m\udcff"
    scored = large_scored(400)
    machines = np.array(
        [HOSTILE.encode() if name == "fan" else odd.encode("utf-8", "surrogateescape") for name in scored.machine]
    )
    limits = tuple(replace(limit, machine=HOSTILE if limit.machine == "fan" else odd) for limit in scored.limits)
    clips = replace(scored.clips, columns={**scored.clips.columns, "machine": machines})
    session = Session(tmp_path, tmp_path, replace(scored, clips=clips, limits=limits))
    with TestClient(application(session)) as client:
        text = client.get("/parts/threshold").text
        assert "<script>" not in text
        assert scores(client, machine="m\\udcff")["clips"]
        assert scores(client, machine=HOSTILE)["clips"]


def test_pooled_sections_share_a_threshold(tmp_path: Path) -> None:
    clips = [*recordings(), *labelled(), Clip("fan/test/x.wav", "fan", "00", "test")]
    store: FeatureStore = selection_store(tmp_path / "store", clips)
    recipe = Recipe((Member("emb", "knn:k=1", "good"),), pool_sections=True)
    session = Session(store.path, tmp_path, scored_of(detect(store, recipe), title="store"))
    with TestClient(application(session)) as client:
        client.post("/threshold", json={"machine": "fan", "section": "00", "value": 1e-6}).raise_for_status()
        assert saved_thresholds(tmp_path) == {("fan", "all"): 1e-6}
        assert scores(client, section="01")["saved"] == 1e-6
        assert session.scored.decision.mean() > 0.9


def test_a_threshold_by_hand_is_refused_where_a_false_discovery_rate_decides(
    client: TestClient, session: Session
) -> None:
    session.decide(replace(session.scored, nominal=None))
    answer = client.post("/threshold", json={"machine": "fan", "section": "00", "value": 0.5})
    assert answer.status_code == 422
    assert "--fdr" in answer.text
    assert saved_thresholds(session.results) == {}
    back = client.post("/threshold", json={"machine": "fan", "section": "00", "value": None})
    assert back.status_code == 200, back.text
