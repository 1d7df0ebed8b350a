"""`featstore commit`: verify what workers have finished, and publish it in the order of the plan."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from featstore.building.state import BuildState, write_state
from featstore.distributed.pending import collect, discard, finished, mark_published
from featstore.distributed.plan_writer import retire, sweep
from featstore.distributed.planfile import PlanFile, plans_of
from featstore.errors import RequestError, StoreError
from featstore.store import FeatureStore, FinishedShard, StoreWriter

BATCH_UNITS = 256
"""Units verified and published at a time; bounds memory, and the work of a commit that is killed."""


@dataclass(frozen=True)
class Gathered:
    """What became of one plan: units published now and before, those that are missing, those refused with the reason.

    A refused unit is missing again: its record was removed, and some worker has to make it anew.
    """

    plan: PlanFile
    published: int
    before: int
    missing: tuple[int, ...]
    refused: Mapping[int, str]
    rejected: int

    @property
    def complete(self) -> bool:
        """Whether everything of the plan is in the store."""
        return not self.missing


def commit(path: Path) -> tuple[list[Gathered], FeatureStore]:
    """Publish every finished unit of every plan in the store at `path`; a plan that is complete leaves it.

    Can be run at any time, also while workers go on, and again after it was killed at any moment. Raises StoreError
    when the store is locked or a plan is damaged, ResourceError when the disk is full.
    """
    FeatureStore.open(path)  # a mistyped path must not become a store
    with StoreWriter(path) as writer:
        sweep(path)
        gathered = [gather(writer, plan) for plan in plans_of(path)]
        for one in gathered:
            if one.complete:
                write_state(path, BuildState(one.plan.root, one.plan.listed, finished=True))
                retire(one.plan.folder)
        return gathered, writer.store


def gather(writer: StoreWriter, plan: PlanFile) -> Gathered:
    """Publish the finished units of one plan under the writer's lock; the plan stays."""
    known = finished(plan)
    ready = sorted(number for number, published in known.items() if not published and number < len(plan))
    refused: dict[int, str] = {}
    rejected = 0
    for start in range(0, len(ready), BATCH_UNITS):
        units = {}
        for number in ready[start : start + BATCH_UNITS]:
            try:
                units[number] = collect(plan, number)
            except StoreError as error:
                refused[number] = str(error)
                discard(plan, number)
        _publish(writer, plan, units)
        rejected += sum(len(shard.keys) - shard.rows for shards in units.values() for shard in shards)
    missing = [number for number in range(len(plan)) if number not in known or number in refused]
    count = len(ready) - len(refused)
    return Gathered(plan, count, sum(known.values()), tuple(missing), refused, rejected)


def _publish(writer: StoreWriter, plan: PlanFile, units: Mapping[int, Sequence[FinishedShard]]) -> None:
    """One manifest with all of `units`, then the note beside each that it is done."""
    there = {entry.file.split("-", 2)[-1] for entry in writer.store.manifest.shards}  # by a commit that was killed
    left = [shard for shards in units.values() for shard in shards if f"{shard.place}.h5" not in there]
    if left:
        writer.adopt(left)
    for number, shards in units.items():
        mark_published(plan, number, shards)


def take_over(writer: StoreWriter, names: Sequence[str]) -> None:
    """Publish what is finished of every plan for some of the embeddings `names`, and end those plans.

    What builds these embeddings next must not be overwritten by units that were planned earlier. Units of an embedding
    that the store has got otherwise meanwhile go with their plan.
    """
    sweep(writer.path)
    for plan in plans_of(writer.path):
        if {info.name for info in plan.infos} & set(names):
            with suppress(RequestError):
                gather(writer, plan)
            retire(plan.folder)
