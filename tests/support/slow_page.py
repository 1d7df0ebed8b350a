"""A page with a route that works for ever, and a child: prints the address and the process of the child."""

import multiprocessing
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

from ensemble.review.server import serve
from featstore.terminal.terminated import terminable


def main() -> None:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    def slow(request: Request) -> Response:
        print("working", flush=True)
        threading.Event().wait()
        return Response()

    application = serve.application

    def with_slow(session: Any) -> Any:
        app = application(session)
        app.router.routes.insert(0, Route("/slow", slow))
        return app

    serve.application = with_slow
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), daemon=True)
    child.start()
    session = cast(Any, SimpleNamespace(scored=SimpleNamespace(title="plant")))
    with serve.bound(0) as listener, terminable():
        serve.serve(session, listener, ready=lambda address: print(address, child.pid, flush=True))


if __name__ == "__main__":
    sys.exit(main())
