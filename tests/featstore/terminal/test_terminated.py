"""A command that SIGTERM ends leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from featstore.console import Commands
from featstore.store import FeatureStore
from featstore.terminal.terminated import Terminated, terminable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")


def test_sigterm_raises_in_the_block_only():
    def wait() -> None:
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Terminated):
        wait()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_handler_stays():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_a_thread_leaves_the_handler_alone():
    handlers = []

    def look() -> None:
        with terminable():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]


def test_a_command_ends_with_its_code_after_cleaning_up():
    cleaned = []

    @click.command()
    def wait() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned.append(True)

    result = CliRunner().invoke(Commands("group", {"wait": wait}), ["wait"])
    assert (result.exit_code, cleaned) == (143, [True])
    assert "stopped by SIGTERM" in result.output


def test_a_build_with_workers_leaves_no_semaphores(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "fan" / "normal"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(100):
        sf.write(folder / f"{number:04d}.wav", noise.uniform(-0.5, 0.5, 160_000), 16_000)
    command = [sys.executable, "-m", "featstore.cli", "build", str(tmp_path / "data"), str(tmp_path / "store")]
    command += ["-e", "logmel", "--unit-clips", "6", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as build:
        assert build.stderr is not None
        for line in build.stderr:
            if line.startswith("0/100 clips"):  # the workers are being started
                break
        build.send_signal(signal.SIGTERM)
        rest = build.stderr.read()
    assert "semaphore" not in rest
    assert build.returncode == 143, rest
    assert "stopped by SIGTERM; finished work is kept" in rest
    assert FeatureStore.open(tmp_path / "store").warnings == ()
    assert (tmp_path / "store" / "lock").read_bytes() == b""
