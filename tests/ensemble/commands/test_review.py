"""`detect review` as a user starts and ends it."""

import http.client
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from places import ROOT
from review_process import stand_in

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from ensemble.cli import main
from ensemble.review.server import serve
from ensemble.review.server.serve import bound
from featstore.errors import DataError

OPENING = "ensemble.review.opening"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["review", *[str(arg) for arg in args]])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What sessions are opened with; nothing is served."""
    calls: list[tuple[Any, ...]] = []
    module = stand_in()
    session = module.open_session("", "")

    def open_session(*places: Any, **options: Any) -> Any:
        calls.append((*places, options))
        options["say"]("no results yet")
        return session

    vars(module)["open_session"] = open_session
    monkeypatch.setitem(sys.modules, OPENING, module)

    def ends(session: Any, listener: Any, *, ready: Any) -> None:
        ready(f"http://127.0.0.1:{listener.getsockname()[1]}/?token=t")

    monkeypatch.setattr(serve, "serve", ends)
    return calls


def test_the_address_alone_is_on_stdout(opened: list[tuple[Any, ...]], tmp_path: Path) -> None:
    result = run(tmp_path, "--who", "Ada", "--data", tmp_path, "--results", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=t\n", result.stdout)
    notes = result.stderr.splitlines()
    assert notes[:2] == ["no results yet", "note: one clip is new"]
    assert notes[2].startswith("Open this address")
    [(store, results, options)] = opened
    assert (store, results, options["data"], options["who"]) == (tmp_path, tmp_path / "r", tmp_path, "Ada")


def test_the_port_can_be_chosen(opened: list[tuple[Any, ...]], tmp_path: Path) -> None:
    with bound(0) as listener:
        port = listener.getsockname()[1]
    assert f":{port}/" in run(tmp_path, "--port", port).stdout


def test_a_port_in_use_ends_it_before_anything_is_read(opened: list[tuple[Any, ...]], tmp_path: Path) -> None:
    with bound(0) as listener:
        listener.listen()
        result = run(tmp_path, "--port", listener.getsockname()[1])
    assert (result.exit_code, opened) == (1, [])
    assert "another program listens there" in result.stderr


def test_results_that_cannot_be_shown_end_it_without_an_address(
    opened: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*places: Any, **options: Any) -> None:
        raise DataError("results: made from another store")

    monkeypatch.setattr(sys.modules[OPENING], "open_session", fails)
    result = run(tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: results: made from another store\n"


def test_the_extra_is_named_where_it_is_missing(
    opened: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    result = run(tmp_path)
    assert (result.exit_code, opened) == (1, [])
    assert 'pip install "featstore[review]"' in result.stderr


@pytest.mark.parametrize(
    "options", [("--port", "-1"), ("--port", "65536"), ("--data", "nowhere"), ("--host", "0.0.0.0")]
)
def test_wrong_options_are_usage_errors(
    opened: list[tuple[Any, ...]], tmp_path: Path, options: tuple[str, str]
) -> None:
    assert run(tmp_path, *options).exit_code == 2
    assert run(tmp_path / "missing").exit_code == 2
    assert opened == []


@contextmanager
def started(*args: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A page in a process of its own, and its address."""
    words = [sys.executable, ROOT / "tests" / "support" / "review_process.py", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(list(map(str, words)), text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, **pipes)
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "error: interrupted"), (signal.SIGTERM, 143, "error: stopped by SIGTERM")],
)
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: int, code: int, message: str) -> None:
    with started(tmp_path) as (process, address):
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=[\w-]{43}", address)[1])  # type: ignore[index]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", address.removeprefix(f"http://127.0.0.1:{port}"))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (303, b"")
        connection.request("GET", "/", headers={"Cookie": answer.headers["Set-Cookie"].partition(";")[0]})
        assert b"<title>plant</title>" in connection.getresponse().read()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == code
    assert stdout == ""
    assert stderr.splitlines()[-1] == message
    assert "Traceback" not in stderr
    bound(port).close()
