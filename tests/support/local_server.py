"""A local HTTP server that answers correctly or with a chosen fault, and zip archives from names and contents."""

import hashlib
import io
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from featstore.exchange.fetch import Remote


class Server(ThreadingHTTPServer):
    """Serves `files` by path; `tricks` names the fault of a path, "" for none."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.tricks: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def add(self, path: str, content: bytes, trick: str = "") -> Remote:
        self.files[path], self.tricks[path] = content, trick
        return Remote(self.url(path), len(content), hashlib.md5(content).hexdigest())

    def add_record(self, number: int, contents: dict[str, bytes]) -> None:
        """Add files by name and the description of their Zenodo record."""
        files = []
        for name, content in contents.items():
            remote = self.add(f"/files/{number}/{name}/content", content)
            entry = {"key": name, "size": remote.size, "checksum": f"md5:{remote.md5}"}
            files.append(entry | {"links": {"self": remote.url}})
        self.add(f"/api/records/{number}", json.dumps({"files": files}).encode())


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        byte_range = self.headers.get("Range", "")
        self.server.requests.append((self.path, byte_range))
        if self.path not in self.server.files:
            return self.send_error(404)
        trick = self.server.tricks[self.path]
        if trick == "busy" or (trick == "busy twice" and len(self.server.requests) <= 2):
            return self.send_error(503)
        start = 0 if trick in ("no ranges", "stops early") else int(byte_range.removeprefix("bytes=").rstrip("-") or 0)
        return self.answer(self.server.files[self.path], start, trick)

    def answer(self, content: bytes, start: int, trick: str) -> None:
        total = len(content) + (7 if trick == "claims more" else 0)
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            shift = 1 if trick == "wrong part" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{total - 1}/{total}")
        if trick != "sends more":
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        sent = {"drops": body[: len(content) // 3 + 1], "stops early": body[:1000], "sends more": body + b"more"}
        self.wfile.write(sent.get(trick, body))

    def log_message(self, *args):
        pass


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that runs until the end of the block."""
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield running
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def zipped(*members: tuple[str, bytes], link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if link else 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()
