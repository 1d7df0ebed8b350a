"""`detect review` as a process, as a person starts it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running_page(store: Path, results: Path, data: Path | None = None, *options: str) -> Iterator[str]:
    """The address that the command prints, with its token; the server ends with the block."""
    command = ["detect", "review", str(store), "--results", str(results), *options]
    command += ["--data", str(data)] if data else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            match = next(filter(None, (re.search(r"http://\S+", line) for line in server.stdout)), None)
            assert match, "the command printed no address"
            yield match[0]
        finally:
            server.terminate()
