#!/usr/bin/env python3
"""Kill every command that writes a store at random file operations and moments, and look for lost or wrong rows.

    python scripts/torture_store.py [--kills 500] [--seed 0] [--only compact ...]

`build`, the workers of a shared build, `commit`, `compact`, `import`, `drop` and `repair` start on a copy of a store
with rows, and are killed up to three times. Half of the kills come at a file operation (a write is torn), half at a
random moment. After every kill the store must open, hold every row that it held before and that the command does not
take away, and hold no other row. Then the command runs to its end: the store must be the one of an undisturbed run, row
by row, and pass `featstore verify`. scripts/torture_build.py kills builds with worker processes.
"""

import argparse
import contextlib
import csv
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from featstore.cli import main as featstore_command
from featstore.console import table
from featstore.disk.manifest import live_mask
from featstore.errors import StoreError
from featstore.store import FeatureStore
from featstore.upkeep.verify import verify

CLIPS, EARLIER, UNIT, RATE = 36, 18, 3, 16_000
KILLS_IN_A_ROW = 3
OPERATIONS = ("open", "write", "pwrite", "fsync", "link", "replace", "rename", "unlink", "remove", "ftruncate", "mkdir")
Rows = dict[str, dict[str, bytes]]
"""Bytes of every row by embedding and key, in the order of the store."""


def rows(store: Path) -> Rows:
    """Every live row of the shards that can be read; a damaged shard gives none."""
    opened, found = FeatureStore.open(store), Rows()
    for name in opened.embeddings:
        found[name] = {}
        for entry in opened.entries(name):
            with contextlib.suppress(StoreError), opened.open_shard(entry) as shard:
                live = live_mask(entry.rows, entry.dropped)
                found[name].update(zip(shard.clips()[live].keys(), map(bytes, shard.matrix()[live]), strict=True))
    return found


def run(words: Sequence[object]) -> int:
    """Run a command of `featstore` in this process; its exit code."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            featstore_command([str(word) for word in words])
        except SystemExit as error:
            return int(error.code or 0)
    return 0


def apart(words: Sequence[object]) -> None:
    """Run a command in a fork: this process never computes, because a fork of one that has may wait for ever."""
    ended(forked(lambda: check_code(str(words[0]), run(words))))


def forked(child: Callable[[], None]) -> int:
    """Process id of a fork that runs `child` and ends; all libraries are loaded, so it starts at once."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        child()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
        os._exit(1)


def ended(pid: int) -> bool:
    """Whether the process came to its end; False where it was killed."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a command failed, see above")
    return os.WIFEXITED(status)


def watch_operations(act: Callable[[str, Callable[..., Any], tuple[Any, ...]], None]) -> None:
    """Call `act` before every file operation of this process."""
    for name in OPERATIONS:
        whole = getattr(os, name)

        def watched(*args: Any, _name: str = name, _whole: Callable[..., Any] = whole, **named: Any) -> Any:
            act(_name, _whole, args)
            return _whole(*args, **named)

        setattr(os, name, watched)


def kill_at(operation: int, rng: random.Random) -> None:
    """Kill this process at its file operation of that number; a write is done in part."""
    seen = 0

    def act(name: str, whole: Callable[..., Any], args: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += 1
        if seen == operation:
            if name == "write":
                whole(args[0], bytes(args[1])[: rng.randrange(len(args[1]) + 1)])
            os.kill(os.getpid(), signal.SIGKILL)

    watch_operations(act)


@dataclass(frozen=True)
class Attack:
    """A command on a prepared store, and what may be in the store after a kill.

    words: the command. before, after: the rows that the store holds before it and after its end. ending: a command that
    completes its work, where it does not do so itself.
    """

    name: str
    prepared: Path
    words: Callable[[Path], list[object]]
    ending: Callable[[Path], list[object]] | None = None
    before: Rows = field(default_factory=dict)
    after: Rows = field(default_factory=dict)
    operations: int = 0
    seconds: float = 0.0

    def measured(self, work: Path) -> "Attack":
        """With the rows before and after, the number of file operations and the time of an undisturbed run."""
        store, count = work / "undisturbed", work / "count"
        shutil.copytree(self.prepared, store)
        before, began = rows(store), time.monotonic()

        def child() -> None:
            seen = 0

            def act(*_: object) -> None:
                nonlocal seen
                seen += 1

            watch_operations(act)
            check_code(self.name, run(self.words(store)))
            count.write_text(str(seen))

        ended(forked(child))
        seconds = time.monotonic() - began
        if self.ending:
            apart(self.ending(store))
        after = rows(store)
        shutil.rmtree(store)
        return Attack(self.name, self.prepared, self.words, self.ending, before, after, int(count.read_text()), seconds)

    def wrong(self, store: Path) -> int:
        """Number of rows lost or changed, and of rows that belong to neither state."""
        try:
            now = rows(store)
        except Exception as error:
            print(f"{self.name}: does not open: {error}", file=sys.stderr)
            return sum(map(len, self.before.values()))
        found = 0
        for name, old in self.before.items():
            kept = self.after.get(name, {})
            lost = [key for key in old if now.get(name, {}).get(key) != old[key] and key in kept]
            taken_away = name not in now and name not in self.after
            partly = [] if taken_away or name in self.after else [key for key in old if key not in now.get(name, {})]
            found += len(lost) + len(partly)
        for name, new in now.items():
            known = (self.before.get(name, {}), self.after.get(name, {}))
            found += sum(all(state.get(key) != row for state in known) for key, row in new.items())
        return found


def check_code(name: str, code: int) -> None:
    """Raise RuntimeError for an exit code that none of the commands should have; 1 is that of an incomplete commit."""
    if code not in {0, 1}:
        raise RuntimeError(f"{name} ended with {code}")


def attack_once(attack: Attack, work: Path, rng: random.Random, tally: Counter[str]) -> None:
    """Kill the command up to three times on one store, look after each kill, and let it end."""
    store = work / "store"
    shutil.copytree(attack.prepared, store)
    for _ in range(rng.randint(1, KILLS_IN_A_ROW)):
        at_operation = rng.random() < 0.5
        operation, seed = rng.randint(1, attack.operations), rng.random()

        def child(at: int = operation if at_operation else 0, seed: float = seed) -> None:
            if at:
                kill_at(at, random.Random(seed))
            check_code(attack.name, run(attack.words(store)))

        pid = forked(child)
        if not at_operation:
            time.sleep(rng.uniform(0, attack.seconds))
            os.kill(pid, signal.SIGKILL)
        if not ended(pid):
            tally["killed"] += 1
            tally["lost or wrong"] += attack.wrong(store)
    apart(attack.words(store))
    if attack.ending:
        apart(attack.ending(store))
    tally["ended"] += 1
    same = {name: list(found.items()) for name, found in rows(store).items()} == {
        name: list(found.items()) for name, found in attack.after.items()
    }
    tally["other end"] += not same
    tally["verify fails"] += len(verify(store))
    shutil.rmtree(store)


def prepared_attacks(work: Path) -> list[Attack]:
    """The stores that the commands start from, and the commands."""
    data, earlier = recordings(work), work / "earlier"
    build = ["-e", "logmel", "--unit-clips", UNIT, "--workers", 0, "--anomalies", "none"]
    vectors, listed = foreign(work)
    apart(["build", earlier, work / "half", *build])
    for name in ("planned", "full", "both", "damaged"):
        shutil.copytree(work / "half", work / name)
    apart(["build", data, work / "full", *build])
    changed(data)
    apart(["build", data, work / "full", *build])  # now with superseded rows
    apart(["plan", data, work / "planned", "-e", "logmel", "--unit-clips", UNIT, "--anomalies", "none"])
    shutil.copytree(work / "planned", work / "finished")
    worker = ["-e", "logmel", "--rank", 0, "--world", 1, "--workers", 0]
    apart(["build", data, work / "finished", *worker])
    imported = ["--as", "foreign", "--manifest", listed]
    apart(["import", work / "both", vectors, *imported])
    apart(["import", work / "damaged", vectors, *imported])
    damage(work / "damaged")
    return [
        Attack("build", work / "half", lambda store: ["build", data, store, *build]),
        Attack(
            "worker",
            work / "planned",
            lambda store: ["build", data, store, *worker],
            lambda store: ["commit", store],
        ),
        Attack("commit", work / "finished", lambda store: ["commit", store]),
        Attack("compact", work / "full", lambda store: ["compact", store]),
        Attack("import", work / "half", lambda store: ["import", store, vectors, *imported]),
        Attack("drop", work / "both", drop_if_there),
        Attack("repair", work / "damaged", lambda store: ["repair", store]),
    ]


def drop_if_there(store: Path) -> list[object]:
    """`drop`, or `verify` where an earlier attempt was killed after it had done its work."""
    there = "foreign" in FeatureStore.open(store).embeddings
    return ["drop", store, "-e", "foreign"] if there else ["verify", store]


def recordings(work: Path) -> Path:
    """Folders of short noises: `data` with all, `earlier` with the first half."""
    noise = np.random.default_rng(0)
    for i in range(CLIPS):
        wave = noise.uniform(-0.5, 0.5, RATE // 2)
        for folder in ["data", "earlier"][: 1 + (i < EARLIER)]:
            path = work / folder / "fan" / "normal" / f"{i:04d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, wave, RATE)
            os.utime(path, (1, 1))
    return work / "data"


def changed(data: Path) -> None:
    """Write every fifth recording anew, so that a build supersedes its row."""
    for path in sorted((data / "fan" / "normal").iterdir())[::5]:
        sf.write(path, -sf.read(path)[0], RATE)


def foreign(work: Path) -> tuple[Path, Path]:
    """Vectors made elsewhere, and the list of their clips."""
    vectors, listed = work / "vectors.npy", work / "list.csv"
    np.save(vectors, np.random.default_rng(1).standard_normal((CLIPS, 8)).astype(np.float32))
    with listed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "machine", "label"])
        writer.writerows([f"fan/normal/{i:04d}.wav", "fan", "normal"] for i in range(CLIPS))
    return vectors, listed


def damage(store: Path) -> None:
    """Flip a byte in the middle of the first shard of `logmel`."""
    shard = store / "shards" / FeatureStore.open(store).entries("logmel")[0].file
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def main() -> None:
    """Run the kills and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        attacks = [attack for attack in prepared_attacks(work) if not args.only or attack.name in args.only]
        attacks = [attack.measured(work) for attack in attacks]
        tallies: dict[str, Counter[str]] = {attack.name: Counter() for attack in attacks}
        while sum(tally["killed"] for tally in tallies.values()) < args.kills:
            attack = min(attacks, key=lambda attack: tallies[attack.name]["killed"])
            attack_once(attack, work, rng, tallies[attack.name])
    columns = ("killed", "lost or wrong", "ended", "other end", "verify fails")
    found = [[attack.name, attack.operations, *(tallies[attack.name][c] for c in columns)] for attack in attacks]
    total = [sum(tally[c] for tally in tallies.values()) for c in columns]
    print(table(["command", "file operations", *columns], [*found, ["all", "", *total]], text_columns=1))
    raise SystemExit(total[1] + total[3] + total[4] > 0)


if __name__ == "__main__":
    main()
