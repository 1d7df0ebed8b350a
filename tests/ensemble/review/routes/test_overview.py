import re

import pytest
from review_plant import session_of
from starlette.testclient import TestClient

from ensemble.marks.file import Mark, append_mark
from ensemble.review.saved import FILE
from ensemble.review.server.app import application


@pytest.fixture
def session(tmp_path):
    return session_of(tmp_path)


def test_the_part_shows_a_tile_per_section(session):
    answer = TestClient(application(session)).get("/parts/overview")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.startswith("<h2>Overview</h2>")
    links = re.findall(r'<h4><a href="([^"]*)"', answer.text)
    assert sorted(links) == ["#triage?machine=fan&amp;section=00", "#triage?machine=fan&amp;section=01"]


def test_marks_made_meanwhile_count(session):
    client = TestClient(application(session))
    worst = session.items[0]
    assert f"#triage?clip={worst.row}" in client.get("/parts/overview").text
    append_mark(session.path, Mark(clip=session.scored.keys[worst.row], mark="normal"))
    after = client.get("/parts/overview").text
    assert f"#triage?clip={worst.row}" not in after
    assert "1 marked normal or ignored" in after


def test_thresholds_that_are_not_used_are_said_until_they_are_set_again(session):
    client = TestClient(application(session))
    assert "earlier run" not in client.get("/parts/overview").text
    (session.results / FILE).write_text('[thresholds]\n"fan/00" = 0.5\n')
    assert "1 threshold was set for an earlier run and is not used" in client.get("/parts/overview").text
    client.post("/threshold", json={"machine": "fan", "section": "00", "value": 0.5}).raise_for_status()
    assert "earlier run" not in client.get("/parts/overview").text
    (session.results / FILE).write_text("nonsense")
    answer = client.get("/parts/overview")
    assert answer.status_code == 200
    assert "not a readable file of thresholds" in answer.text


def test_the_script_of_the_part_loads_it_again(session):
    source = TestClient(application(session)).get("/static/overview.js").text
    assert "/parts/overview" in source
