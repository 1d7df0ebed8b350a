"""Rejected recordings are listed once, and anomalies that were not made because of them are counted."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes import write_clip

from featstore.building.rejections import Unmade, of_recordings
from featstore.cli import main
from featstore.disk.shard import Rejection

pytestmark = pytest.mark.usefixtures("unsynced")


def rejection(path: str, variant: str = "", reason: str = "truncated") -> Rejection:
    return Rejection(path, reason, 1, 1, variant=variant)


MIX = rejection("b.wav", "mix@0dB#1<a.wav", "donor a.wav: truncated")


def test_only_recordings_are_rejected_and_each_once() -> None:
    again = rejection("a.wav", reason="another")
    assert of_recordings([rejection("a.wav"), MIX, rejection("a.wav", "leak@0dB#1"), again]) == [rejection("a.wav")]


def test_anomalies_of_rejected_recordings_are_counted_and_others_have_their_reason() -> None:
    short = rejection("c.wav", "leak@0dB#1", "5 samples")
    unmade = Unmade.among([rejection("a.wav"), MIX, MIX, rejection("a.wav", "leak@0dB#1"), short], {"a.wav"})
    assert (unmade.of_rejected, unmade.others, len(unmade)) == (2, [short], 3)
    assert unmade.notes() == [
        "2 generated anomalies were not made because of them",
        "1 generated anomaly was not made, first of c.wav: 5 samples",
    ]
    assert Unmade.among([rejection("a.wav")], {"a.wav"}).notes() == []


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_a_rejected_donor_does_not_make_healthy_recordings_rejected(tmp_path: Path) -> None:
    data, store = tmp_path / "data", tmp_path / "store"
    for machine in ("fan", "pump"):
        for i in range(3):
            write_clip(data, f"{machine}/normal/{i}.wav", i + 10 * (machine == "pump"), 4000)
    (data / "fan/normal/0.wav").write_bytes(b"no sound")
    options = ("build", data, store, "-e", "logmel", "-e", "twfr", "--anomalies", "6:mix", "--workers", 0)
    done = run(*options)
    assert done.exit_code == 3
    assert "1 rejected; " in done.stderr
    assert "generated anomalies were not made because of them" in done.stderr
    assert "pump" not in done.stderr.partition("rejected ")[2].partition("rejected;")[0]
    listed = run("info", store, "--rejected").stdout
    assert listed.count("fan/normal/0.wav") == 1
    assert "logmel, twfr" in listed
    assert "donor" not in listed
    assert "generated anomalies were not made because of them" in listed
    again = run(*options)
    assert "1 rejected earlier and unchanged since" in again.stderr
    assert run("info", store).stdout.count("rejected: ") == 2, "once for each embedding"
