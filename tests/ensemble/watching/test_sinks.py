"""Receivers: lines on a stream, commands and webhooks that fail in every way."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ensemble.watching import sinks as sinks_module
from ensemble.watching.sinks import Courier, Delivery, Lines, Refused, checked_url, command_words, post, run_command
from featstore.errors import OptionError

ALARM = {"type": "alarm", "id": "A", "nearest": "\udcff.wav"}


class Receiver(ThreadingHTTPServer):
    """Answers POST with the next of `answers`, 200 after the last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/alarms"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(content))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("Location", self.server.url)
        self.end_headers()

    def do_GET(self) -> None:
        raise AssertionError("a redirect was followed")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_lines_leave_results_out_where_asked() -> None:
    out = io.StringIO()
    sink = Lines(out, alarms_only=True)
    assert sink.send("f", [{"type": "result"}, ALARM])
    assert [json.loads(text) for text in out.getvalue().splitlines()] == [ALARM]
    assert sink.done() == [Delivery("f")]
    assert sink.done() == []


def test_a_webhook_gets_the_message(receiver: Receiver) -> None:
    post(receiver.url, ALARM)
    assert receiver.got == [ALARM]


@pytest.mark.parametrize(
    ("answer", "again"),
    [(400, False), (404, False), (410, False), (302, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_which_answers_are_tried_again(receiver: Receiver, answer: int, again: bool) -> None:
    receiver.answers = [answer]
    with pytest.raises(Refused, match=f"HTTP {answer}") as refusal:
        post(receiver.url, ALARM)
    assert refusal.value.again is again


def test_a_receiver_that_is_away_is_tried_again() -> None:
    with pytest.raises(Refused, match="refused") as refusal:
        post("http://127.0.0.1:9/", ALARM)
    assert refusal.value.again


def test_a_command_gets_the_message_on_stdin_and_no_shell(tmp_path: Path) -> None:
    run_command(["sh", "-c", 'cat > "$1"', "x", f"{tmp_path}/a; echo"], ALARM)
    assert json.loads((tmp_path / "a; echo").read_bytes()) == ALARM


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["false"], "false ended with exit code 1"),
        (["no-such-program"], "no-such-program: .*No such file"),
        (["sleep", "9"], r"sleep ran longer than 0 s and was ended"),
        (["a\0b"], "null byte"),
    ],
)
def test_a_command_that_fails(words: list[str], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks_module, "COMMAND_S", 0.05)
    with pytest.raises(Refused, match=reason) as refusal:
        run_command(words, ALARM)
    assert not refusal.value.again


def test_a_command_that_does_not_read_is_no_failure() -> None:
    run_command(["true"], {"id": "x" * 1_000_000})


def couriers(deliver: Callable[[dict[str, Any]], None], log: list[str]) -> Courier:
    return Courier("webhook", deliver, say=log.append)


def finished(courier: Courier, count: int) -> list[Delivery]:
    """Wait for so many messages to be done with."""
    done: list[Delivery] = []
    while len(done) < count:
        done.append(courier._finished.get(timeout=20))
    courier.close()
    courier._thread.join(20)
    return done


def test_a_courier_tries_again_and_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    got: list[str] = []

    def deliver(message: dict[str, Any]) -> None:
        got.append(message["id"])
        if len(got) < 3:
            raise Refused("HTTP 503", again=True)

    courier = couriers(deliver, log)
    pauses: list[float | None] = []
    monkeypatch.setattr(courier._end, "wait", pauses.append)
    assert courier.send("A", [ALARM])
    assert courier.send("B", [{**ALARM, "id": "B"}])
    assert finished(courier, 2) == [Delivery("A"), Delivery("B")]
    assert (got, pauses) == (["A", "A", "A", "B"], [1, 2])
    assert log[0] == "webhook: alarm A not delivered: HTTP 503, tried again in 1 s"


@pytest.mark.parametrize("error", [Refused("HTTP 404"), KeyError("HTTP 404")])
def test_a_refused_message_does_not_hold_up_the_next(error: Exception) -> None:
    log: list[str] = []

    def deliver(message: dict[str, Any]) -> None:
        if message["id"] == "A":
            raise error

    courier = couriers(deliver, log)
    courier.send("A", [ALARM])
    courier.send("B", [{**ALARM, "id": "B"}])
    first, second = finished(courier, 2)
    assert (first.id, "HTTP 404" in first.outcome, second) == ("A", True, Delivery("B"))
    assert len(log) == 1


def test_a_full_queue_says_so_and_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks_module, "QUEUED", 2)
    gate = threading.Event()
    courier = couriers(lambda message: assert_set(gate), [])
    sent = [courier.send(str(i), [ALARM]) for i in range(5)]
    assert sent[:2] == [True, True]
    assert not sent[-1]
    gate.set()
    finished(courier, sum(sent))


def assert_set(gate: threading.Event) -> None:
    assert gate.wait(20)


def test_words_of_a_command() -> None:
    assert command_words("cat --to 'the shift'") == ["cat", "--to", "the shift"]
    for wrong in ("", "  ", "cat 'open", "no-such-program --to me"):
        with pytest.raises(OptionError, match="--on-alarm"):
            command_words(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://host/x", "host/x", "http://", "http://host:x/", "http://me:secret@host/",
        "http://host/a b", "http://höst/", "http://host/\n", "",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(OptionError, match="--webhook"):
        checked_url(url)


def test_addresses() -> None:
    for url in ("http://host", "https://host:8443/a?b=c", "http://[::1]:80/"):
        assert checked_url(url) == url
