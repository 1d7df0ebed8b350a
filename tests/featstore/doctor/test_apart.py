"""Probes in processes of their own: an answer, an error, a crash and a hang are told apart."""

import sys
from pathlib import Path

import pytest

from featstore.doctor import apart
from featstore.doctor.accelerators import faiss_found, gpu_found
from featstore.doctor.apart import Apart
from featstore.doctor.finding import BROKEN, NOTE, OK, Finding, probed
from featstore.errors import DataError

RUNNER = """
import sys
from featstore import registry
from featstore.doctor.apart import main
registry.PROBES = {name: f"odd_probes:{name}" for name in ("good", "raises", "crashes", "hangs")}
main()
"""

ODD = """
import os, signal, time
def good(): print("a library greets"); return {"a": 1}
def raises(): raise ImportError("no such library")
def crashes(): os.kill(os.getpid(), signal.SIGSEGV)
def hangs(): time.sleep(60)
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has probes that go wrong."""
    (tmp_path / "odd_probes.py").write_text(ODD)
    (tmp_path / "odd_runner.py").write_text(RUNNER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(apart, "__name__", "odd_runner")


@pytest.mark.usefixtures("odd")
def test_an_answer_and_three_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    with Apart("good") as good, Apart("raises") as raises, Apart("crashes") as crashes, Apart("hangs") as hangs:
        assert good.answer() == {"a": 1}
        with pytest.raises(DataError, match=r"^ImportError: no such library$"):
            raises.answer()
        with pytest.raises(DataError, match="ended by SIGSEGV"):
            crashes.answer()
        monkeypatch.setattr(apart, "LONGEST_S", 0.1)
        with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
            hangs.answer()
    assert hangs._process.poll() is not None


def test_a_probe_that_cannot_start_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    with Apart("gpu") as probe:
        found = probed("GPU", lambda: gpu_found(probe.answer), failed=BROKEN)
    assert found.text.startswith("its process does not start: No such file")


def test_a_slow_answer_is_only_a_note() -> None:
    def late() -> Finding:
        raise TimeoutError("no answer within 60 s")

    assert probed("GPU", late, failed=BROKEN) == Finding("GPU", "unknown: no answer within 60 s", NOTE)


def test_gpus_and_why_there_are_none() -> None:
    gpu = {"name": "H200", "free": 100e9, "total": 150e9}
    assert (
        gpu_found(lambda: {"torch": "2", "devices": [gpu], "why": ""}).text
        == "H200 (100.0 GB free of 150.0 GB); torch 2"
    )
    none = gpu_found(lambda: {"torch": "2", "devices": [], "why": "built without CUDA"})
    assert (none.text, none.state) == ("none: built without CUDA; commands use the processor", OK)


FAST = {"version": "1.9", "gpus": 0, "kernel": "SkylakeX", "slow": False, "better": "SkylakeX"}


@pytest.mark.parametrize(
    ("packages", "answer", "state", "text"),
    [
        (["faiss-cpu"], FAST, OK, "faiss-cpu 1.9, kernel SkylakeX"),
        (["faiss-cpu"], FAST | {"kernel": "Prescott", "slow": True}, NOTE, "kernel Prescott is slow here: SkylakeX is"),
        (["faiss-gpu"], FAST | {"gpus": 2}, OK, "faiss-gpu 1.9, 2 GPUs, kernel SkylakeX"),
        (["faiss-cpu", "faiss-gpu"], FAST, NOTE, "faiss-cpu 1.9 and faiss-gpu 1.9 overwrite each other"),
        ([], FAST, OK, "faiss 1.9, kernel SkylakeX"),
    ],
)
def test_faiss(monkeypatch: pytest.MonkeyPatch, packages: list[str], answer: dict, state: str, text: str) -> None:
    monkeypatch.setattr("featstore.doctor.accelerators.installed", lambda name: "1.9" if name in packages else "")
    monkeypatch.setattr("featstore.doctor.accelerators.find_spec", lambda name: name)
    found = faiss_found(lambda: answer)
    assert (found.state, text in found.text) == (state, True), found


def test_without_faiss_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featstore.doctor.accelerators.installed", lambda name: "")
    monkeypatch.setattr("featstore.doctor.accelerators.find_spec", lambda name: None)
    found = faiss_found(lambda: pytest.fail("it is not asked"))
    assert (found.state, found.text) == (OK, "not installed; exact search works without it")
