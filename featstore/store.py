"""StoreWriter: the only writer of a store, one atomic manifest per commit. FeatureStore reads the rows back."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from featstore.disk.damaged import FOLDER, move_to_damaged
from featstore.disk.files import create_checked, explained, link_new, make_folder, read_regular, sync_directory
from featstore.disk.leftovers import put_back_aside, remove_leftovers, remove_unnamed
from featstore.disk.lock import StoreLock
from featstore.disk.manifest import ShardEntry, check_info, live_mask, name_of
from featstore.disk.newest import Newest, find_newest
from featstore.disk.publish import finish, prune, publish
from featstore.disk.shard import EmbeddingInfo, Rejection, ShardData, build_image
from featstore.disk.shard_name import new_name, number_of, place_of
from featstore.errors import RequestError, ResourceError, StoreError
from featstore.reader import FeatureStore, differing_fields

__all__ = ["EmbeddingInfo", "FeatureStore", "FinishedShard", "Rejection", "ShardData", "StoreWriter"]

Place = tuple[str, int]
"""Position of a key: shard file and row, or shard file and ~index (negative) of a rejection."""


@dataclass(frozen=True)
class FinishedShard:
    """A finished and checked shard file that is not yet in shards/.

    keys: of its rows, then of its rejections. place: "<plan>-<unit>-<position>", the end of its name in the store; the
    shards of a plan are sorted by it.
    """

    path: Path
    info: EmbeddingInfo
    keys: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    place: str


OWN_NAMES = {"shards", "manifest", "lock", "lost+found"}
"""What a store holds before its first manifest, and what a freshly mounted disk holds."""


class StoreWriter:
    """Exclusive write access to the store at `path`, which is created when missing; a context manager.

    The constructor takes the lock (StoreError when another process holds it) and removes the files that a killed writer
    left. A folder with other files in it becomes no store: RequestError. A store whose last published state is missing
    is not written to: StoreError, except with `repairing`. store: the snapshot after the last commit. lost: why the
    last published state is missing, usually empty.
    """

    def __init__(self, path: str | Path, *, repairing: bool = False) -> None:
        self.path = Path(path)
        _refuse_other_folder(self.path)
        with explained(f"the store {self.path}", 0, self.path.parent):
            for name in ("shards", "manifest"):
                make_folder(self.path / name)
        self._lock = StoreLock(self.path)
        self._places: dict[str, dict[str, Place]] = {}
        self._new: list[Path] = []
        try:
            put_back_aside(self.path)
            newest = find_newest(self.path)
            self.lost, self._above = newest.lost, newest.published
            self.store = FeatureStore(self.path, newest.manifest, newest.warnings)
            if not repairing:
                self._start(newest)
        except BaseException:
            self._lock.release()
            raise

    def _start(self, newest: Newest) -> None:
        """Refuse a store that must be repaired first, and finish or remove what a killed writer left."""
        if newest.lost:
            raise StoreError(
                f"{self.path}: {newest.lost}; nothing was written. Restore the file from a backup, or run featstore "
                f"repair: it goes on from manifest {newest.manifest.number} and says what is lost"
            )
        self._move_unfinished(newest)
        if not newest.manifest.number:
            self.store = FeatureStore(self.path, publish(self.path, newest.manifest, (), {}))
        elif newest.published < newest.manifest.number:
            finish(self.path, newest.manifest)
        remove_leftovers(self.path)

    def _move_unfinished(self, newest: Newest) -> None:
        """Move damaged manifests above the head record, each with its shards, to STORE/damaged.

        Usually they were never published. A program that writes no head record may have published them all the same.
        """
        for number in newest.unfinished:
            shards = [path for path in (self.path / "shards").glob("*.h5") if number_of(path.name) == number]
            named = {entry.file for entry in newest.manifest.shards}
            files = [Path("shards", path.name) for path in shards if path.name not in named]
            with explained(f"the folder {self.path / FOLDER}", 0, self.path):
                move_to_damaged(self.path, [*files, Path("manifest", name_of(number))])
            moved = f"{name_of(number)} and its {len(files)} shards were moved to {self.path / FOLDER}"
            self.store = FeatureStore(self.path, newest.manifest, (*self.store.warnings, moved))

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def commit(self, shards: Sequence[ShardData], *, replace: bool = True) -> FeatureStore:
        """Store all of `shards`, one file each, in one manifest: all are published, or none.

        A live key, row or rejection, is superseded; with `replace=False` it raises StoreError. Raises ResourceError
        when the disk is full. After an error `store` shows which state is published.
        """
        infos = self._agreed_infos([data.info for data in shards])
        keys = _distinct_keys((data.info.name, data.keys()) for data in shards)
        superseded = {place for name, names in keys.items() for place in self._live(name, names)}
        if superseded and not replace:
            raise StoreError(
                f"{len(superseded)} of the keys are already in {self.path}; replace them with replace=True"
            )
        with self._all_or_nothing():
            added = [self._write(data, index) for index, data in enumerate(shards)]
            self._publish([*self._without(superseded), *added], infos)
        for data, entry in zip(shards, added, strict=True):
            self._places[data.info.name].update(_places(entry, data.keys()))
        return self.store

    def adopt(self, finished: Sequence[FinishedShard]) -> FeatureStore:
        """Publish finished shards in one manifest, superseding live keys; files are linked, not copied.

        The manifest keeps the shards of one plan together, in the order of the plan.
        """
        infos = self._agreed_infos([shard.info for shard in finished])
        keys = _distinct_keys((shard.info.name, shard.keys) for shard in finished)
        superseded = {place for name, names in keys.items() for place in self._live(name, names)}
        with self._all_or_nothing():
            added = [self._link(shard) for shard in finished]
            sync_directory(self.path / "shards")
            self._publish(_in_plan_order(self._without(superseded), added), infos)
        for shard, entry in zip(finished, added, strict=True):
            self._places[shard.info.name].update(_places(entry, shard.keys))
        return self.store

    def remove(self, name: str, keys: Iterable[str]) -> FeatureStore:
        """Drop rows and rejections by key, in one manifest; unknown keys are ignored."""
        self.store.info(name)
        gone = set(keys)
        with self._all_or_nothing():
            self._publish(self._without(set(self._live(name, gone))))
        for key in gone:
            self._places[name].pop(key, None)
        return self.store

    def replace_shards(self, name: str, old: Sequence[str], new: Sequence[ShardData]) -> FeatureStore:
        """Replace the shard files `old` of one embedding by `new` ones with the same live rows, in one manifest.

        The new shards take the position of the first old one.
        """
        outgoing = set(old)
        with self._all_or_nothing():
            added = [self._write(data, index) for index, data in enumerate(new)]
            entries: list[ShardEntry] = []
            for entry in self.store.manifest.shards:
                entries += added if entry.file == old[0] else [] if entry.file in outgoing else [entry]
            self._publish(entries)
        self._places.pop(name, None)
        return self.store

    def discard(self, files: Iterable[str]) -> FeatureStore:
        """Publish the store without some shard files; what was published later and is lost stays behind."""
        gone = set(files)
        with self._all_or_nothing():
            self._publish([entry for entry in self.store.manifest.shards if entry.file not in gone])
        self._places.clear()
        return self.store

    def drop(self, name: str) -> FeatureStore:
        """Remove an embedding with all its rows and rejections, and delete its shards."""
        entries = [entry for entry in self.store.manifest.shards if entry not in self.store.entries(name)]
        infos = {other: info for other, info in self.store.manifest.embeddings.items() if other != name}
        with self._all_or_nothing():
            self._publish(entries, infos)
        self._places.pop(name, None)
        self.remove_unnamed(keep=1)
        return self.store

    def remove_unnamed(self, keep: int) -> None:
        """Keep the `keep` newest manifests and remove every shard that none of them names."""
        prune(self.path, self.store.manifest.number, keep)
        remove_leftovers(self.path)

    def _agreed_infos(self, infos: Iterable[EmbeddingInfo]) -> dict[str, EmbeddingInfo]:
        agreed = dict(self.store.manifest.embeddings)
        for info in infos:
            try:
                check_info(info)
            except ValueError as error:
                raise RequestError(str(error)) from error
            for field, (new, stored) in differing_fields(info, agreed.setdefault(info.name, info)).items():
                raise RequestError(
                    f"{info.name!r} is stored with {field} {stored!r}, the new rows have {new!r}; "
                    "store them under another name (--as NAME)"
                )
        return agreed

    def _live(self, name: str, keys: Iterable[str]) -> Iterable[Place]:
        places = self._places_of(name)
        return (places[key] for key in keys if key in places)

    def _places_of(self, name: str) -> dict[str, Place]:
        """Place of every live key; read once and then updated, so that a commit does not read shards again."""
        if name not in self._places:
            places: dict[str, Place] = {}
            for entry, shard in self.store.shards(name) if name in self.store.embeddings else ():
                keys = shard.clips().keys() + [rejection.key for rejection in shard.rejected()]
                places.update(_places(entry, keys))
            self._places[name] = places
        return self._places[name]

    def _without(self, superseded: set[Place]) -> list[ShardEntry]:
        by_file: dict[str, set[int]] = {}
        for file, place in superseded:
            by_file.setdefault(file, set()).add(place)
        entries = []
        for entry in self.store.manifest.shards:
            gone = by_file.get(entry.file)
            if gone:
                entry = entry.without({i for i in gone if i >= 0}, {~i for i in gone if i < 0})
            entries.append(entry)
        return entries

    def _write(self, data: ShardData, index: int) -> ShardEntry:
        image = build_image(data)
        digest = hashlib.sha256(image).hexdigest()
        path = self._place(data.info, f"{index:04d}", digest)
        if path.exists():  # equal content, left by a killed writer or of another writer beside this one
            path = self._place(data.info, f"{index:04d}-{secrets.token_hex(4)}", digest)
        create_checked(path, image)
        self._new.append(path)
        return ShardEntry(path.name, data.info.name, len(data.clips), len(data.rejected), len(image), digest)

    def _link(self, shard: FinishedShard) -> ShardEntry:
        path = self._place(shard.info, shard.place, shard.sha256)
        with explained(str(path), shard.bytes, path.parent):
            try:
                link_new(shard.path, path, shard.bytes)
                self._new.append(path)
            except FileExistsError:
                if hashlib.sha256(read_regular(path, shard.bytes)).hexdigest() != shard.sha256:
                    raise
        rejected = len(shard.keys) - shard.rows
        return ShardEntry(path.name, shard.info.name, shard.rows, rejected, shard.bytes, shard.sha256)

    def _place(self, info: EmbeddingInfo, end: str, sha256: str) -> Path:
        return self.path / "shards" / new_name(info, self.store.manifest.number + 1, end, sha256)

    def _publish(self, entries: Sequence[ShardEntry], infos: Mapping[str, EmbeddingInfo] | None = None) -> None:
        self._lock.check()
        old = self.store.manifest
        infos = old.embeddings if infos is None else infos
        self.store = FeatureStore(self.path, publish(self.path, old, tuple(entries), infos, above=self._above))
        prune(self.path, self.store.manifest.number)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """When the block fails, read the published state from disk and remove the new files that no manifest names."""
        self._new.clear()
        try:
            yield
        except BaseException as error:
            self._places.clear()
            with suppress(StoreError, ResourceError, OSError):
                self.store = FeatureStore.open(self.path)
                remove_unnamed(self.path, self._new)
            if isinstance(error, StoreError) and not (self.path / "manifest").is_dir():
                raise StoreError(f"{self.path} was removed during the run; run the command again") from error
            raise


def _places(entry: ShardEntry, keys: Sequence[str]) -> dict[str, Place]:
    rows, rejections = live_mask(entry.rows, entry.dropped), live_mask(entry.rejected, entry.cleared)
    places = {key: (entry.file, row) for row, key in enumerate(keys[: entry.rows]) if rows[row]}
    return places | {key: (entry.file, ~i) for i, key in enumerate(keys[entry.rows :]) if rejections[i]}


def _in_plan_order(entries: Sequence[ShardEntry], added: Sequence[ShardEntry]) -> list[ShardEntry]:
    """`entries` with the shards `added` of one plan, merged with its earlier shards at the position of their first."""

    def place(entry: ShardEntry) -> str:
        return place_of(entry.file)

    plan = place(added[0]).partition("-")[0] + "-"
    same_plan = [entry for entry in entries if place(entry).startswith(plan)]
    others = [entry for entry in entries if not place(entry).startswith(plan)]
    at = entries.index(same_plan[0]) if same_plan else len(entries)
    return [*others[:at], *sorted([*same_plan, *added], key=place), *others[at:]]


def _distinct_keys(shards: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for name, names in shards:
        keys.setdefault(name, []).extend(names)
    for name, names in keys.items():
        if len(set(names)) < len(names):
            key = Counter(names).most_common(1)[0][0]
            raise RequestError(
                f"key {key!r} occurs twice among the rows and rejections of {name!r}; keys must be unique"
            )
    return keys


def _refuse_other_folder(path: Path) -> None:
    """RequestError for a folder that is no store and holds something else, such as recordings."""
    if (path / "manifest").exists() or not path.is_dir():
        return
    names = (entry.name for entry in path.iterdir())
    others = sorted(name for name in names if name not in OWN_NAMES and not name.startswith("."))
    if others:
        raise RequestError(
            f"{path}: this folder is no store and holds other files, first {others[0]!r}; choose a new or empty folder "
            "for the store"
        )
