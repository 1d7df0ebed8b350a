"""The addresses of the map: its form, its points, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from review_plant import session_of
from starlette.testclient import TestClient

from ensemble.marks.file import FAULT, Mark
from ensemble.review.routes import map as map_part
from ensemble.review.server.app import application
from ensemble.review.session import Session
from ensemble.review.space import maps


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return session_of(tmp_path_factory.mktemp("map"))


@pytest.fixture
def client(page: Session) -> TestClient:
    return TestClient(application(page))


def test_the_form_offers_views_and_methods(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_part, "has_umap", lambda: True)
    text = client.get("/parts/map").text
    assert '<option value="e" selected>' in text
    assert '<option value="umap">UMAP' in text
    assert "pip install" not in text
    monkeypatch.setattr(map_part, "has_umap", lambda: False)
    without = client.get("/parts/map").text
    assert '<option value="umap" disabled>' in without
    assert "pip install &#34;featstore[umap]&#34;" in without


def test_points_of_every_clip_with_its_verdict(client: TestClient, page: Session, monkeypatch) -> None:
    key = page.scored.keys[3]
    monkeypatch.setattr(type(page), "marks", type("Marks", (), {"items": (Mark(clip=key, mark=FAULT),)}))
    answer = client.get("/map/points")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    data = answer.json()
    assert data["shown"] == data["total"] == len(data["x"]) == len(data["y"]) == len(data["key"]) == 72
    verdict = data["classes"]["verdict"]
    assert [data["key"][i] for i, name in enumerate(verdict["of"]) if verdict["names"][name] == "fault"] == [key]
    assert any("<script>" in key for key in data["key"]), "a name of any kind is data"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("view=ee", 404, "no view 'ee' of an embedding in the store; did you mean e?; it has e"),
        ("view=../../etc", 404, "no view '../../etc' of an embedding in the store; it has e"),
        ("view=%FF%00", 404, "no view '\\udcff\\x00'"),
        ("method=pac", 400, "unknown method: 'pac'; did you mean pca? choose from pca, umap"),
        ("generated=2", 400, "unknown generated: '2'; choose from 0, 1"),
        ("&".join(f"a{i}=1" for i in range(99)), 400, "at most 50 values"),
    ],
)
def test_what_is_refused(client: TestClient, query: str, status: int, words: str) -> None:
    answer = client.get(f"/map/points?{query}")
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_umap_answers_at_once_and_then_with_points(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Running:
        is_running, seconds, result, error = True, 3, None, ""

        def __init__(self, compute: object, X: np.ndarray) -> None:
            Running.X = X

    monkeypatch.setattr(maps, "Computation", Running)
    monkeypatch.setattr(maps.projection, "has_umap", lambda: True)
    first = client.get("/map/points?method=umap")
    assert (first.status_code, first.json()) == (202, {"computing": 3})
    monkeypatch.setattr(Running, "result", Running.X[:, :2])
    monkeypatch.setattr(Running, "is_running", False)
    done = client.get("/map/points?method=umap")
    assert (done.status_code, done.json()["explained"], done.json()["shown"]) == (200, None, 72)


def test_umap_without_its_extra_says_how_to_install_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps.projection, "has_umap", lambda: False)
    answer = client.get("/map/points?method=umap")
    assert (answer.status_code, answer.json()["error"]) == (422, 'UMAP is not installed: pip install "featstore[umap]"')


def test_a_store_that_is_gone_is_no_traceback(tmp_path: Path) -> None:
    page = session_of(tmp_path, data=False)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    client = TestClient(application(page), raise_server_exceptions=False)
    answer = client.get("/map/points")
    assert answer.status_code == 404
    assert str(tmp_path / "store") in answer.text
