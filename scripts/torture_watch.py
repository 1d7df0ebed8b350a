"""Kill a watch with SIGKILL at random moments while files arrive in every way, and check for lost or doubled results.

    python scripts/torture_watch.py [--kills 50] [--seed 0]

A writer process writes WAVs in slow pieces, renames some into place, changes some after they were scored, and leaves
some truncated. The watch is started with a scorer that uses only the level, and killed from outside, or
during a write of its journal, which leaves an incomplete line; segments are short. At the end it runs until nothing
waits. Every complete file must then be in the journal exactly once (each version that was left as it is), no truncated
one as a result, every alarm on stdout at least once and under one id, and no message for a record that is not in the
journal.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from ensemble.commands.watch import run_watch
from ensemble.scoring.verdict import Verdict
from ensemble.watching import journal as journal_module
from ensemble.watching.journal import read_records
from ensemble.watching.watch import WatchRequest
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.errors import RejectedAudio

RATE, SECONDS = 8000, 1.0
TORN = 0.1
SEGMENT_BYTES = 8000
LOUD = 0.5
"""Level of the recordings that the scorer takes for anomalous."""


class Listener:
    """A scorer without a model: loud clips are anomalous."""

    sections = (("fan", "00"),)
    seconds = hop_s = SECONDS

    def section_of(self, path: str, machine: str = "", section: str = "") -> tuple[str, str]:
        """The only section."""
        return self.sections[0]

    def drift(self, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        """Nothing drifts."""
        return ()

    def score_file(self, path: Path, *, machine: str, section: str) -> list[Verdict]:
        """One verdict; takes some time, so that kills come amid it."""
        recording = read_recording(path, RATE, AudioPolicy())
        time.sleep(0.02)
        if len(recording.wave) != RATE * SECONDS:
            raise RejectedAudio("not whole")
        return self.score(recording.wave, RATE, machine=machine, section=section)

    def score(self, wave: np.ndarray, rate_hz: int, *, machine: str, section: str) -> list[Verdict]:
        """One verdict by the level."""
        level = float(np.abs(wave).max())
        rest = {"target_probability": None, "nearest": "", "nearest_distance": 0.0, "members": {}}
        decided = {"percentile": level, "p_value": 1 - level, "threshold": LOUD, "anomaly": level > LOUD}
        return [Verdict(machine, section, 0.0, len(wave) / rate_hz, level, **decided, **rest)]  # type: ignore[arg-type]


def watch(folder: Path, journal: Path, torn: float, seed: int) -> None:
    """The watch itself, in a process of its own. torn: share of its writes amid which it is killed."""
    rng, whole_write = random.Random(seed), os.write

    def torn_write(descriptor: int, data: bytes | memoryview) -> int:
        if rng.random() >= torn:
            return whole_write(descriptor, data)
        whole_write(descriptor, data[: rng.randrange(len(data) + 1)])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    os.write = torn_write  # type: ignore[assignment]
    journal_module.SEGMENT_BYTES = SEGMENT_BYTES
    request = WatchRequest(folder, settle_s=0.5, interval_s=0.1, give_up_s=5.0, heartbeat_s=0.2, quiet_s=2.0)
    raise SystemExit(run_watch(Listener, journal, request, {}))


def wav(path: Path, level: float) -> bytes:
    """A whole WAV."""
    sf.write(path, np.full(int(RATE * SECONDS), level), RATE, subtype="PCM_16")
    data = path.read_bytes()
    path.unlink()
    return data


def write(folder: Path, seed: int, stop: Path) -> None:
    """Write files until `stop` exists; what must be in the journal ends up beside it."""
    rng = random.Random(seed)
    whole: list[tuple[str, int, int]] = []
    truncated: list[str] = []
    spare = folder.parent / "spare.wav"
    count = 0
    while not stop.exists():
        count += 1
        data = wav(spare, rng.choice([0.1, 0.1, 0.9]))
        path = folder / rng.choice("abc") / f"{count:05d}.wav"
        path.parent.mkdir(exist_ok=True)
        way = rng.choice(["slow", "slow", "renamed", "truncated", "changed"])
        if way == "renamed":
            spare.write_bytes(data)
            spare.rename(path)
        else:
            in_pieces(path, data[: rng.randrange(44, len(data))] if way == "truncated" else data, rng)
        if way == "changed":
            time.sleep(rng.uniform(0, 0.4))
            in_pieces(path, wav(spare, 0.2), rng)
        if way == "truncated":
            truncated.append(path.relative_to(folder).as_posix())
        else:
            info = path.stat()
            whole.append((path.relative_to(folder).as_posix(), info.st_size, info.st_mtime_ns))
        time.sleep(rng.uniform(0, 0.15))
    (folder.parent / "expected.json").write_text(json.dumps({"whole": whole, "truncated": truncated}))


def in_pieces(path: Path, data: bytes, rng: random.Random) -> None:
    """Write with pauses that are shorter and longer than the interval of the looks."""
    cuts = sorted(rng.sample(range(1, len(data)), rng.randrange(0, 4)))
    with path.open("wb") as file:
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            file.write(data[begin:end])
            file.flush()
            time.sleep(rng.uniform(0, 0.25))


def start(role: str, *words: object, out: Path) -> subprocess.Popen[bytes]:
    """This script in another role; its stdout is appended to `out`."""
    command = [sys.executable, __file__, "--role", role, *map(str, words)]
    with out.open("ab") as stdout, out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=stdout, stderr=log)


def finish(process: subprocess.Popen[bytes], out: Path) -> int:
    """Let the watch run until nothing waits, then end it as a service manager does; its exit code."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.5)
        beats = [message for message in messages(out)[-40:] if message["type"] == "heartbeat"]
        if len(beats) > 10 and all(beat["waiting"] == 0 for beat in beats[-10:]):
            break
    process.send_signal(signal.SIGTERM)
    return process.wait()


def messages(out: Path) -> list[dict[str, object]]:
    """Whole lines of stdout; a kill may tear one."""
    found = []
    for line in out.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [message for message in found if isinstance(message, dict)]


def judge(folder: Path, journal: Path, out: Path) -> dict[str, int]:
    """Compare the journal and the output with what was written."""
    expected = json.loads((folder.parent / "expected.json").read_text())
    records = [record for record in read_records(journal) if record["kind"] == "file"]
    times = Counter((record["path"], record["size"], record["mtime_ns"]) for record in records)
    scored = {(r["path"], r["size"], r["mtime_ns"]) for r in records if "rejected" not in r}
    whole = set(map(tuple, expected["whole"]))
    raised = {event["id"] for record in records for event in record["events"] if event["type"] == "alarm"}
    shown = Counter(str(message["id"]) for message in messages(out) if message["type"] == "alarm")
    results = {str(message["id"]) for message in messages(out) if message["type"] in {"result", "rejected"}}
    ids = {name for record in records for name in [record["id"], f"{record['id']}-0"]}
    return {
        "whole files": len(whole),
        "missing": len(whole - scored),
        "more than once": sum(count > 1 for count in times.values()),
        "truncated": len(expected["truncated"]),
        "truncated, scored": sum(r["path"] in expected["truncated"] for r in records if "rejected" not in r),
        "truncated, rejected": len({r["path"] for r in records if "rejected" in r} & set(expected["truncated"])),
        "alarms": len(raised),
        "alarms not told": len(raised - set(shown)),
        "alarms told again": sum(shown.values()) - len(shown),
        "told, not recorded": len(results - ids) + len(set(shown) - raised),
    }


def main() -> None:
    """Run the kills and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--role", choices=["watch", "write"], help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "watch":
        watch(Path(args.words[0]), Path(args.words[1]), float(args.words[2]), int(args.words[3]))
    if args.role == "write":
        write(Path(args.words[0]), int(args.words[1]), Path(args.words[2]))
        return
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        folder, journal, out, stop = top / "sound", top / "journal", top / "out.jsonl", top / "stop"
        folder.mkdir()
        out.touch()
        amid = 0
        writer = start("write", folder, args.seed, stop, out=top / "writer.txt")
        for _ in range(args.kills):
            torn = rng.choice([0, TORN])
            process = start("watch", folder, journal, torn, rng.randrange(1 << 30), out=out)
            deadline = time.monotonic() + rng.uniform(0.8, 4.0)
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.01)
            amid += process.poll() == -signal.SIGKILL
            process.kill()
            process.wait()
        stop.touch()
        writer.wait()
        code = finish(start("watch", folder, journal, 0, 0, out=out), out)
        log = out.with_suffix(".log").read_text()
        found = {"amid a write": amid} | judge(folder, journal, out)
        found |= {
            "torn ends repaired": log.count("cut off"),
            "segments": len([*journal.glob("*.jsonl")]),
            "exit code": code,
        }
        if os.environ.get("KEEP"):
            print(log[-3000:], file=sys.stderr)
    print(f"| kills | {' | '.join(found)} |")
    print(f"|{'---|' * (len(found) + 1)}")
    print(f"| {args.kills} | {' | '.join(map(str, found.values()))} |")
    bad = ("missing", "more than once", "truncated, scored", "alarms not told", "told, not recorded", "exit code")
    raise SystemExit(any(found[name] for name in bad))


if __name__ == "__main__":
    main()
