"""The shell and the files of the package that it loads."""

from importlib.resources import files
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.testclient import TestClient

from ensemble.review.routes.page import PARTS, routes
from ensemble.review.server.failures import handlers


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=routes(), exception_handlers=handlers())
    app.state.session = SimpleNamespace(scored=SimpleNamespace(title="plant", bounded=True, metrics={}))
    return TestClient(app)


def test_every_part_has_a_section_a_link_and_a_script(client: TestClient) -> None:
    shell = client.get("/").text
    for name, heading in PARTS:
        assert f'<section id="part-{name}" class="part" aria-label="{heading}" hidden>' in shell
        assert f'<a href="#{name}">{heading}</a>' in shell
        assert client.get(f"/static/{name}.js").status_code == 200


def test_the_words_of_the_page_are_explained(client: TestClient) -> None:
    shell = client.get("/").text
    assert 'id="words-open"' in shell
    for word in ("threshold", "times the threshold", "nearest normal clip", "deviation from normal"):
        assert f"<dt>{word}</dt>" in shell
    assert "How much closer to 1" in shell
    assert "<dt>AUC</dt>" not in shell, "only where there are metrics"


def test_scripts_and_styles_are_served_as_they_are(client: TestClient) -> None:
    package = files("ensemble.page")
    for file in (package.joinpath("page.css"), *package.joinpath("static").iterdir()):
        answer = client.get(f"/static/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript"))


@pytest.mark.parametrize("name", ["nothing.js", "html.py", "__init__.py", "templates", "static", "page", "js", ".js"])
def test_no_other_file_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404
