"""Ends a command before one of its changes to the disk, as a kill does, within the process of the test."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """Raised at the step where the process is "killed"."""


class KilledAtStep:
    """Raises before the n-th change of a folder; after that no clean-up changes anything."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for name in ("link", "replace", "rename", "unlink", "remove", "mkdir", "rmdir"):
            patch.setattr(f"os.{name}", self.counted(getattr(os, name)))
        patch.setattr("os.open", self.counted(os.open, lambda args: args[1] & (os.O_WRONLY | os.O_RDWR)))
        patch.setattr("io.open", self.counted(io.open, lambda args: args[1:] and set(args[1]) & set("wxa")))

    def counted(self, function: Any, changes: Callable[[Any], object] = lambda args: True) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if changes(args):
                self.left -= 1
                if self.left <= 0:
                    raise Killed
            return function(*args, **more)

        return call
