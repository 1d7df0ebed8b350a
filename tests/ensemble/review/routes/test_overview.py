import re

import pytest
from review_plant import session_of
from starlette.testclient import TestClient

from ensemble.marks.file import Mark, append_mark
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


def test_the_script_of_the_part_loads_it_again(session):
    source = TestClient(application(session)).get("/static/overview.js").text
    assert "/parts/overview" in source
