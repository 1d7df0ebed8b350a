"""The port that the page takes, what it needs, and a session that is served until a signal."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from ensemble.review.server import serve
from ensemble.review.server.serve import bound, check_installed
from ensemble.review.session import Session
from featstore.errors import DataError, RequestError
from featstore.terminal.terminated import Terminated, terminable


def test_the_server_listens_to_this_machine_alone() -> None:
    with bound(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_named() -> None:
    with bound(0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(DataError, match=f"^port {port} of 127.0.0.1: another program listens there; .* a free one"):
            bound(port)
    bound(port).close()


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_port_that_cannot_be_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serve.socket, "socket", type("Refusing", (socket.socket,), {"bind": refuse}))
    with pytest.raises(DataError, match=r"port 80 of 127\.0\.0\.1: Permission denied; name another port"):
        bound(80)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name in ("uvicorn", "h11") else object())
    with pytest.raises(RequestError, match=r'the page needs uvicorn, h11: pip install "featstore\[review\]"'):
        check_installed()


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_session_is_served_until_a_signal(number: int, kind: type[BaseException]) -> None:
    session = cast(Session, SimpleNamespace(scored=SimpleNamespace(title="plant", bounded=True, metrics={})))
    answers: list[int] = []

    def ask(address: str) -> None:
        origin, _, path = address.partition("/?")
        connection = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=10)
        connection.request("GET", f"/?{path}")
        answers.append(connection.getresponse().status)
        connection.close()
        os.kill(os.getpid(), number)

    threads: list[threading.Thread] = []

    def ready(address: str) -> None:
        threads.append(threading.Thread(target=ask, args=(address,)))
        threads[0].start()

    with bound(0) as listener, terminable():
        with pytest.raises(kind) as raised:
            serve.serve(session, listener, ready=ready)
        assert type(raised.value) is kind
    threads[0].join()
    assert answers == [303]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_route_that_still_works_does_not_keep_the_process(number: signal.Signals) -> None:
    script = Path(__file__).parents[3] / "support" / "slow_page.py"
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as page:
        assert page.stdout is not None
        address, child = page.stdout.readline().split()
        origin, _, path = address.partition("/?")
        client = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=20)
        client.request("GET", f"/?{path}")
        answer = client.getresponse()
        answer.close()
        client.request("GET", "/slow", headers={"Cookie": answer.headers["set-cookie"].partition(";")[0]})
        assert page.stdout.readline() == "working\n"
        page.send_signal(number)
        try:
            _, errors = page.communicate(timeout=60)
        finally:
            page.kill()
        client.close()
    assert page.returncode == 128 + number
    assert "; 1 request unfinished" in errors
    assert "Traceback" not in errors
    assert not is_running(int(child))
