"""A Ray cluster of two nodes on this machine, and builds on it in separate processes.

python ray_plant.py cluster TEMP                    prints the address; ends with its standard input
python ray_plant.py build ROOT STORE ADDRESS KIND   one build by CPU actors, or with KIND gpu by "GPU" actors
"""

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from fakes import MomentsEmbedder

from featstore.build import BuildOptions, Request, build
from featstore.building.plan import PlanOptions
from featstore.clip import Clip
from featstore.distributed.ray_build import ray_engine
from featstore.distributed.ray_cluster import cluster

OPTIONS = BuildOptions(workers=2, plan=PlanOptions(unit_clips=20))


@dataclass(frozen=True)
class Deadly(MomentsEmbedder):
    """Crashes at one wave, returns infinity for another."""

    deadly: float = 0.75
    endless: float = -0.75


@dataclass(frozen=True)
class Trapped(MomentsEmbedder):
    """Writes its process id and waits, while the trap file exists."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        trap = Path(os.environ.get("TRAP", "no trap"))
        if trap.exists():
            trap.with_suffix(f".{os.getpid()}").touch()
            time.sleep(60)
        return super().embed(waves)


@dataclass(frozen=True)
class Failing(MomentsEmbedder):
    """Fails at every wave."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        raise ValueError("this layer has no weights")


@dataclass(frozen=True)
class Unmade(MomentsEmbedder):
    """Cannot be made by an actor."""

    def __post_init__(self) -> None:
        if in_actor():
            raise RuntimeError("this library is missing")


@dataclass(frozen=True)
class Stillborn(MomentsEmbedder):
    """Crashes an actor while it is made."""

    def __post_init__(self) -> None:
        if in_actor():
            os._exit(9)


def in_actor() -> bool:
    """Whether this process is a worker of the cluster."""
    return "default_worker" in sys.argv[0]


@dataclass(frozen=True)
class Other(MomentsEmbedder):
    """Has another fingerprint in every process."""

    process: int = field(default_factory=os.getpid)

    @property
    def fingerprint(self) -> str:
        return f"of process {self.process}"


KINDS = {
    "gpu": Deadly,
    "deadly": Deadly,
    "trapped": Trapped,
    "stopped": Trapped,
    "failing": Failing,
    "other": Other,
    "unmade": Unmade,
    "stillborn": Stillborn,
}


def listing(root: Path) -> list[Clip]:
    """Every recording below `root`."""
    paths = sorted(str(path.relative_to(root)) for path in root.rglob("*.wav"))
    return [Clip(path, "fan", "00", "train", "source", "normal") for path in paths]


def build_on_ray(root: Path, store: Path, kind: str) -> dict[str, object]:
    """One build by CPU actors or, for the kind gpu, by actors on the declared GPU."""
    engine = ray_engine(2, 0.5, OPTIONS.plan.unit_clips)
    options = replace(OPTIONS, workers=engine, embed_in_workers=kind != "gpu")
    try:
        report = build(root, listing(root), store, [Request("moments", KINDS[kind])], options)
    except Exception as error:
        return {"error": "".join(traceback.format_exception(error))}
    return {"rejected": [item.path for item in report.rejected]}


def build_all(root: Path, stores: Path, address: str, *kinds: str) -> None:
    with cluster(address):
        results = {kind: build_on_ray(root, stores / kind, kind) for kind in kinds}
    print(json.dumps(results))


def run_cluster(folder: str) -> None:
    from ray.cluster_utils import Cluster

    common = {"object_store_memory": 80 << 20, "temp_dir": folder}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **common})
    nodes.add_node(num_cpus=1, num_gpus=1, **common)  # a declared GPU that is never used
    print(nodes.address, flush=True)
    sys.stdin.read()
    nodes.shutdown()


if __name__ == "__main__":
    import ray_plant  # workers import the embedders by this name

    if sys.argv[1] == "cluster":
        run_cluster(sys.argv[2])
    else:
        ray_plant.build_all(Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
