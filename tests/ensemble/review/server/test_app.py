"""The page as it is served: its addresses, attacks on their paths, and a hostile name in its title."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from urllib.parse import quote

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from review_plant import session_of
from review_server import Answer, Running, running

from ensemble.review.routes.page import PARTS
from ensemble.review.server.app import application, protected
from ensemble.review.session import Session

TITLE = "<script>document.title='owned'</script>\"'&\u202e\x1b[31m\udcff"
SECRET = "not for the page"

UP = [
    "../secret.txt",
    "../../secret.txt",
    "../../../../../../../../etc/passwd",
    "..%2fsecret.txt",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/secret.txt",
    "%2e%2e%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "..%5csecret.txt",
    "..%c0%afsecret.txt",
    "....//secret.txt",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "file:///etc/passwd",
    "app.js%00.txt",
    "app.js/../../secret.txt",
    "",
    ".",
    "..",
    "%00",
    "%ff%fe",
    "__init__.py",
    "../page.py",
    "templates/review.html",
    "CON",
    "a" * 5000,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A page whose folder of recordings lies beside a file that nobody may read."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "secret.txt").write_text(SECRET)
    plant = session_of(folder)
    session = Session(plant.path, plant.results, replace(plant.scored, title=TITLE), data=plant.data)
    with running(lambda access: protected(application(session), access)) as server:
        yield server


def assert_nothing_foreign(answer: Answer) -> None:
    assert answer.status in (400, 403, 404, 405, 409, 414, 422), answer
    assert SECRET.encode() not in answer.body
    assert b"root:" not in answer.body
    assert b"Traceback" not in answer.body


def test_the_shell_has_its_parts_scripts_and_styles(page: Running) -> None:
    shell = page.get("/").text
    for part, heading in PARTS:
        assert f'<a href="#{part}">{heading}</a>' in shell
        assert f'id="part-{part}"' in shell
    names = re.findall(r'(?:src|href)="(/static/[^"]*)"', shell)
    assert "/static/app.js" in names
    sheets = {f"/static/{file.name}" for file in files("ensemble.page").joinpath("static").iterdir()}
    assert set(names) >= {name for name in sheets if name.endswith(".css")} | {"/static/page.css"}
    for name in names:
        answer = page.get(name)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/css" if name.endswith("css") else "text/javascript")


def test_a_script_in_a_name_is_text(page: Running) -> None:
    shell = page.get("/").text
    assert "<script>document" not in shell
    assert re.findall(r"<script[^>]*>", shell) == ['<script type="module" src="/static/app.js">']
    assert not re.search(r"\son\w+=", shell)
    title = html.unescape(re.findall("<title>(.*?)</title>", shell)[0])
    assert title == "<script>document.title='owned'</script>\"'&\\u202e\\x1b[31m\\udcff"


@pytest.mark.parametrize("path", UP)
def test_no_path_leads_out_of_the_scripts(page: Running, path: str) -> None:
    assert_nothing_foreign(page.get(f"/static/{path}"))


@pytest.mark.parametrize("address", ["/sound/audio.wav", "/sound/picture.png", "/search/like"])
@pytest.mark.parametrize("path", UP)
def test_no_key_leads_out_of_the_recordings(page: Running, address: str, path: str) -> None:
    for key in (path, quote(path)):
        for query in (f"clip={key}", f"clip=a.wav&normal={key}", f"clip=a.wav&like={key}", f"clip={key}&kind=clip"):
            assert_nothing_foreign(page.get(f"{address}?{query}"))


@pytest.mark.parametrize(
    "path", ["/parts/../static/app.js", "/nothing", "/static", "/static/", "/parts/", "//", "/%2e"]
)
def test_an_unknown_address_is_an_error_as_json(page: Running, path: str) -> None:
    answer = page.get(path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert "error" in answer.text


def test_a_whole_address_in_the_request_line_is_not_fetched(page: Running) -> None:
    assert_nothing_foreign(page.get("http://127.0.0.1:1/"))
    answer = page.raw(page.head("GET http://evil.example/ HTTP/1.1", connection="close") + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
