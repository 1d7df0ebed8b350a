"""Everything that counts is synced, in an order in which no crash can show one half of it.

Each task is recorded. Its steps must follow the rules of `broken_rules`, and no longer follow them when any line that
syncs is left out.
"""

import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crash_states import Unsynced, folder_of
from disk_recorder import Event, recording
from sample_store import INFO, make_store, path_of, shard

from featstore.disk import files, publish
from featstore.disk.files import create_checked, write_exclusive, write_new
from featstore.disk.manifest import ShardEntry
from featstore.disk.shard import build_image
from featstore.errors import StoreError
from featstore.store import FeatureStore, FinishedShard, StoreWriter
from featstore.upkeep.compact import compact
from featstore.upkeep.repair import repair

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the recorder asks /proc for the names of open files")

MODULES = (
    "featstore/disk/files.py",
    "featstore/disk/publish.py",
    "featstore/disk/leftovers.py",
    "featstore/store.py",
    "featstore/upkeep/repair.py",
    "ensemble/marks/file.py",
    "ensemble/watching/journal.py",
)
NAMING = ("create", "link", "move", "mkdir")


def named(event: Event) -> str:
    """The name that a step gives."""
    return event.target or event.path


def broken_rules(events: Sequence[Event]) -> list[str]:
    """Which step breaks which rule.

    A file is linked or moved to its name when its content is durable. A manifest appears when all shards are durable,
    the head record when the manifest is. A shard goes when the manifests that named it have gone durably. At the end
    nothing that was named is lost by a crash, and a manifest that was withdrawn stays away.
    """
    disk, broken = Unsynced(), []
    for event in events:
        disk.apply(event)
        if event.kind in ("link", "move") and event.file in disk.torn():
            broken.append(f"{named(event)} is named before its content is durable")
        earlier = [step for step in disk.pending if step is not event]
        for name, folder, kinds in (
            (r"store/manifest/\d+\.json", "store/shards", NAMING),
            (r"store/head\.json", "store/manifest", NAMING),
            (r"store/shards/.*\.h5\..*\.aside", "store/manifest", ("remove",)),
        ):
            if event.kind in NAMING and re.fullmatch(name, named(event)):
                broken += [f"{named(event)} before {named(step)}" for step in lost(earlier, kinds) if in_(step, folder)]
                broken += [f"{named(event)} before {file}" for file in disk.torn() if folder == "store/shards"]
    highest = max(
        (named(event) for event in events if in_(event, "store/manifest") and not is_temporary(named(event))),
        default="",
    )
    broken += [f"{highest} may come back" for step in disk.pending if step.kind == "remove" and step.path == highest]
    current = {named(event): event.file for event in events if event.kind in NAMING and not is_temporary(named(event))}
    broken += [f"{name} is not durable" for name, file in current.items() if file in disk.torn()]
    return broken + [f"the name {named(step)} is not durable" for step in lost(disk.pending, NAMING)]


def lost(steps: Iterable[Event], kinds: tuple[str, ...]) -> list[Event]:
    return [step for step in steps if step.kind in kinds and not is_temporary(named(step))]


def in_(step: Event, folder: str) -> bool:
    return folder_of(step) == folder


def is_temporary(name: str) -> bool:
    return name.endswith((".tmp", ".aside"))


def append(path: Path, data: bytes) -> None:
    """What a crash left at the end of a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, data)
    os.fsync(descriptor)
    os.close(descriptor)


def new_store(folder: Path) -> None:
    StoreWriter(folder / "store").close()


def commit(folder: Path) -> None:
    with StoreWriter(folder / "store") as writer:
        writer.commit([shard([8, 9])])


def adopt(folder: Path) -> None:
    image = build_image(shard([8, 9]))
    write_new(folder / "finished.h5", image)
    digest = hashlib.sha256(image).hexdigest()
    keys = (path_of(8), path_of(9))
    finished = FinishedShard(folder / "finished.h5", INFO, keys, 2, len(image), digest, f"{'a' * 16}-00000000-00")
    with StoreWriter(folder / "store") as writer:
        writer.adopt([finished])


def drop(folder: Path) -> None:
    with StoreWriter(folder / "store") as writer:
        writer.drop("other")


def compact_store(folder: Path) -> None:
    compact(folder / "store")


def repair_store(folder: Path) -> None:
    entry = FeatureStore.open(folder / "store").entries("twfr")[0]
    write_new(folder / "store" / "shards" / entry.file, b"damaged")
    assert repair(folder / "store")


def withdrawn(folder: Path) -> None:
    """A manifest whose shard another writer removes at the same moment."""
    root = folder / "store"
    old = FeatureStore.open(root).manifest
    image = build_image(shard([8, 9]))
    entry = ShardEntry("new.h5", "twfr", 2, 0, len(image), hashlib.sha256(image).hexdigest())
    create_checked(root / "shards" / "new.h5", image)
    confirm = publish._confirm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "_confirm", lambda *args: ((root / "shards" / "new.h5").unlink(), confirm(*args)))
        with pytest.raises(StoreError):
            publish.publish(root, old, (*old.shards, entry), old.embeddings)


def checkpoint(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    from embedders.networks.checkpoint import Trained, save

    save(folder / "net.safetensors", Trained("net", {"width": 2}, {"weight": torch.zeros(2)}))


def mark(folder: Path) -> None:
    from ensemble.marks.file import Mark, append_mark

    append_mark(folder / "store", Mark(clip=path_of(1), mark="fault"))


def mark_after_a_torn_one(folder: Path) -> None:
    from ensemble.marks.file import Mark, append_mark

    mark(folder)
    append(folder / "store" / "marks.jsonl", b"torn")
    append_mark(folder / "store", Mark(clip=path_of(2), mark="normal"))


def model(folder: Path) -> None:
    from ensemble.scoring.file import write_model

    write_model(folder / "plant.model", {"kind": "test"}, {"rows": np.zeros(3)})


def selection(folder: Path) -> None:
    from ensemble.recipe import Member, Recipe
    from ensemble.selection.kept import Choice, KeptChoices

    recipe = Recipe((Member("twfr", "knn"),))
    KeptChoices(folder / "store").keep({"a": 1}, Choice(recipe, {"chosen": "one"}), recipe, [])


def journal(folder: Path) -> None:
    from ensemble.watching.journal import Journal

    with Journal(folder / "logs" / "journal", say=print) as opened:
        opened.add({"kind": "start", "folder": "/sound", "sinks": ["stdout"]})


def journal_with_a_torn_end(folder: Path) -> None:
    from ensemble.watching.journal import Journal

    journal(folder)
    segment = next((folder / "logs" / "journal").glob("*.jsonl"))
    append(segment, b"torn")
    Journal(folder / "logs" / "journal", say=print).close()


def exclusive(folder: Path) -> None:
    write_exclusive(folder / "alone.json", b"{}")


TASKS: list[Callable[[Path], None]] = [
    new_store, commit, adopt, drop, compact_store, repair_store, withdrawn, checkpoint, mark, mark_after_a_torn_one,
    model, selection, journal, journal_with_a_torn_end, exclusive,
]  # fmt: skip


def recorded(task: Callable[[Path], None], folder: Path) -> list[Event]:
    if task is not new_store:
        other = replace(INFO, name="other", fingerprint="e" * 64)
        make_store(folder / "store", shard([1, 2]), shard([3, 4], info=other), shard([5]))
    with recording(folder) as recorder:
        task(folder)
    return recorder.events


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Event]]:
    return {task.__name__: recorded(task, tmp_path_factory.mktemp(task.__name__)) for task in TASKS}


@pytest.mark.parametrize("task", [task.__name__ for task in TASKS])
def test_no_step_breaks_a_rule(recordings, task):
    assert broken_rules(recordings[task]) == []


def test_a_rule_is_broken_without_any_of_the_syncs(recordings):
    sites = {event.site for events in recordings.values() for event in events} - {""}
    assert sites >= syncing_lines()
    for site in syncing_lines():
        broken = [
            rule
            for events in recordings.values()
            for rule in broken_rules([event for event in events if event.site != site])
        ]
        assert broken, f"{site} is not needed"


def syncing_lines() -> set[str]:
    """Every line that syncs a file or a folder: file name and number."""
    source, start = inspect.getsourcelines(files.sync_directory)
    found = set()
    for module in MODULES:
        lines = Path(files.__file__).parents[2].joinpath(module).read_text().splitlines()
        for number, line in enumerate(lines, 1):
            own = module == MODULES[0] and start <= number < start + len(source)
            if re.search(r"(?<!def )(os\.fsync|sync_directory)\(", line) and not own:
                found.add(f"{Path(module).name}:{number}")
    return found
