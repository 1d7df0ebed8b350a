"""Waits for the next look, shorter if the operating system reports a change (package `watchfiles`)."""

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from featstore.errors import reason_of
from featstore.layouts.tree import is_audio

RETRY_S = 10.0


class Wake:
    """A wait that ends early when a file below `root` changes, or when `stop` is called.

    poll: never listen to the operating system. Network folders report no changes, so the wait must be short anyway.
    """

    def __init__(self, root: Path, *, poll: bool, say: Callable[[str], None]) -> None:
        self.root, self.poll, self.say = root, poll, say
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._end = threading.Event()

    def __enter__(self) -> Self:
        """Begin to listen, where the package is installed."""
        if not self.poll and importlib.util.find_spec("watchfiles") is not None:
            threading.Thread(target=self._listen, name="watch-changes", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def wait(self, seconds: float, least: float = 0.0) -> None:
        """Return after `seconds`, or after a change but not before `least`, or at once after `stop`."""
        if not self._stop.wait(min(least, seconds)):
            self._changed.wait(max(0.0, seconds - least))
        self._changed.clear()

    def stop(self) -> None:
        """End the present wait and every later one; safe in a signal handler."""
        self._stop.set()
        self._changed.set()

    def _listen(self) -> None:
        import watchfiles

        is_logged = False
        while not self._end.is_set():
            try:
                changes = watchfiles.watch(
                    self.root,
                    watch_filter=lambda change, path: is_audio(path),
                    debounce=50,
                    step=10,
                    stop_event=self._end,
                    rust_timeout=500,
                    raise_interrupt=False,
                )
                for _ in changes:
                    self._changed.set()
            except (OSError, RuntimeError) as error:  # no folder, or no free watch: looks continue without it
                if not is_logged:
                    self.say(f"changes in {self.root} are noticed only by looking: {reason_of(error)}")
                is_logged = True
            self._end.wait(RETRY_S)
