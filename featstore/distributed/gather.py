"""`featstore commit`: verify the units that workers finished, and publish them in the order of the plan."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from featstore.building.state import BuildState, write_state
from featstore.clip import VARIANT_MARK
from featstore.distributed.pending import collect, discard, finished, mark_published
from featstore.distributed.plan_writer import remove_leftovers, remove_plan
from featstore.distributed.planfile import PlanFile, plans_of
from featstore.errors import RequestError, StoreError
from featstore.store import FeatureStore, FinishedShard, StoreWriter

BATCH_UNITS = 256
"""Units verified and published at a time; limits the memory, and the work lost when a commit is killed."""


@dataclass(frozen=True)
class Gathered:
    """Result of a commit for one plan.

    published, before: numbers of units published now and by earlier commits. missing: units that are not finished.
    refused: invalid units with the reason; they are also missing, because their record was removed and a worker must
    compute them again. rejected: number of rejected recordings.
    """

    plan: PlanFile
    published: int
    before: int
    missing: tuple[int, ...]
    refused: Mapping[int, str]
    rejected: int

    @property
    def complete(self) -> bool:
        """Whether all units of the plan are in the store."""
        return not self.missing


def commit(path: Path) -> tuple[list[Gathered], FeatureStore]:
    """Publish every finished unit of every plan in the store at `path`, and remove the plans that are complete.

    Can run at any time, also while workers are running, and again after it was killed. Raises StoreError when the store
    is locked or a plan is damaged, ResourceError when the disk is full.
    """
    FeatureStore.open(path)  # raises for a wrong path, where StoreWriter would create a store
    with StoreWriter(path) as writer:
        remove_leftovers(path)
        results = [gather(writer, plan) for plan in plans_of(path)]
        for result in results:
            if result.complete:
                write_state(path, BuildState(result.plan.root, result.plan.listed, finished=True))
                remove_plan(result.plan.folder)
        return results, writer.store


def gather(writer: StoreWriter, plan: PlanFile) -> Gathered:
    """Publish the finished units of one plan; the plan itself stays."""
    known = finished(plan)
    ready = sorted(number for number, published in known.items() if not published and number < len(plan))
    refused: dict[int, str] = {}
    rejected = set[str]()
    for start in range(0, len(ready), BATCH_UNITS):
        units = {}
        for number in ready[start : start + BATCH_UNITS]:
            try:
                units[number] = collect(plan, number)
            except StoreError as error:
                refused[number] = str(error)
                discard(plan, number)
        _publish(writer, plan, units)
        rejected |= {key for shards in units.values() for shard in shards for key in shard.keys[shard.rows :]}
    missing = [number for number in range(len(plan)) if number not in known or number in refused]
    count = len(ready) - len(refused)
    recordings = sum(VARIANT_MARK not in key for key in rejected)
    return Gathered(plan, count, sum(known.values()), tuple(missing), refused, recordings)


def _publish(writer: StoreWriter, plan: PlanFile, units: Mapping[int, Sequence[FinishedShard]]) -> None:
    """Publish `units` in one manifest, then mark each as published."""
    # A commit that was killed may have published them. Only equal bytes, all rows of them live, say so: an equal plan
    # has the same name, also when the recordings could not be read the first time, or were others meanwhile.
    known = {entry.sha256 for entry in writer.store.manifest.shards if not entry.dropped and not entry.cleared}
    new = [shard for shards in units.values() for shard in shards if shard.sha256 not in known]
    if new:
        writer.adopt(new)
    for number, shards in units.items():
        mark_published(plan, number, shards)


def close_plans(writer: StoreWriter, names: Sequence[str]) -> None:
    """Publish the finished units of all plans for the embeddings `names`, and remove these plans.

    Otherwise units planned earlier could overwrite the rows of a new build. Units that no longer fit the embedding in
    the store are removed with their plan.
    """
    remove_leftovers(writer.path)
    for plan in plans_of(writer.path):
        if {info.name for info in plan.infos} & set(names):
            with suppress(RequestError):
                gather(writer, plan)
            remove_plan(plan.folder)
