"""Probes of heavy libraries, each in a process of its own: one that crashes or hangs ends nothing else.

`python -m featstore.doctor.apart NAME` runs the probe that the registry has under the name and prints its answer as
JSON. featstore imports none of these libraries.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from featstore import registry
from featstore.console import echo_json
from featstore.errors import DataError, reason_of

LONGEST_S = 60.0


class Apart:
    """A probe that runs while others do; use it in a `with` block, and ask for its `answer`."""

    def __init__(self, name: str) -> None:
        places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._failure = ""
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = self._started(name, places)
        except OSError as error:
            self._failure = reason_of(error)

    @staticmethod
    def _started(name: str, places: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONIOENCODING": "utf-8"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """What the probe found; DataError says why it failed, TimeoutError that it takes longer than LONGEST_S."""
        if self._process is None:
            raise DataError(f"its process does not start: {self._failure}")
        try:
            out, err = self._process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no answer within {LONGEST_S:g} s") from None
        code = self._process.returncode
        if code < 0:
            raise DataError(f"its process was ended by {signal.Signals(-code).name}")
        if code:
            last = (err.strip().splitlines() or ["no message"])[-1]
            raise DataError(last)
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer


def main() -> None:
    """Print the answer of the probe that the command line names."""
    echo_json(registry.probe(sys.argv[1]))


if __name__ == "__main__":
    main()
