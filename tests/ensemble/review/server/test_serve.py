"""The port that the page takes, what it needs, and a session that is served until a signal."""

import http.client
import os
import signal
import socket
import threading
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
