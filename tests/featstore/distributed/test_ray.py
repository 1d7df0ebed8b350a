"""Builds and archive runs on a Ray cluster of two machines give the local results, also after crashes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import make_clips, write_clip
from places import ROOT, SUPPORT
from ray_plant import OPTIONS, Deadly, Trapped, listing
from shared_plant import assert_same_rows

from ensemble.archive.on_ray import Scorer, finish
from ensemble.archive.rows import Unit
from ensemble.archive.run import ArchiveJob, ArchiveRun, Resources
from featstore.build import Request, build
from featstore.building.request import BuildRequest
from featstore.building.work import Result, Task
from featstore.cli import main
from featstore.disk.shard import EmbeddingInfo, ShardData
from featstore.distributed.ray_build import check_mounted
from featstore.distributed.ray_cluster import PACKAGES, cluster, load_ray
from featstore.distributed.ray_pool import WorkerCrashed
from featstore.errors import DataError, OptionError, RequestError
from featstore.store import FeatureStore, StoreWriter
from featstore.table import ClipTable
from featstore.upkeep.verify import verify

pytestmark = pytest.mark.ray
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
PLANT = SUPPORT / "ray_plant.py"


def start(folder: Path, *command: object, code: str = "code") -> subprocess.Popen[str]:
    """A process in its own session, with the cluster's code and no settings of other clusters."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    paths = f"{folder / code}{os.pathsep}{PLANT.parent}"
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": paths, "TRAP": str(folder / "trap")}
    environment["RAY_TMPDIR"] = str(folder / "own")  # `auto` also looks here
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    arguments = list(map(str, command))
    return subprocess.Popen(arguments, env=environment, cwd=folder, text=True, start_new_session=True, **pipes)


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """stdout and stderr of a process that must end with `code`."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    return out, err


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"not within two minutes: {what}"
        time.sleep(0.02)


def processes_naming(text: str) -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # the process has just ended
            continue
    return [line for line in lines if text in line]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short path, as Ray's sockets need, and a copy of the code that stays unchanged."""
    with tempfile.TemporaryDirectory(prefix="ray-") as name:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, Path(name, "code", package))
        Path(name, "own/ray").mkdir(parents=True)
        yield Path(name)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    nodes = start(folder, sys.executable, PLANT, "cluster", folder / "r")
    assert nodes.stdout is not None
    address = nodes.stdout.readline().strip()
    assert address, nodes.communicate()[1]
    yield address
    ended(nodes)
    wait_for(lambda: not processes_naming(str(folder / "r")), "every process of the cluster has ended")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    """Recordings: one is damaged, one crashes its process, one gives a vector that is not finite."""
    clips = make_clips(folder / "data", 50)
    (folder / "data" / clips[3].path).write_bytes(b"no sound")
    write_clip(folder / "data", clips[21].path, seed=21, first=0.75)
    write_clip(folder / "data", clips[30].path, seed=30, first=-0.75)
    return folder / "data"


def on_ray(folder: Path, address: str, *kinds: str) -> subprocess.Popen[str]:
    return start(folder, sys.executable, PLANT, "build", folder / "data", folder, address, *kinds)


@pytest.fixture(scope="module")
def outcomes(folder: Path, address: str, data: Path) -> dict[str, Any]:
    """Results of builds of several kinds, one after the other."""
    out, _ = ended(on_ray(folder, address, "deadly", "gpu", "failing", "other", "unmade", "stillborn"))
    results: dict[str, Any] = json.loads(out)
    return results


@pytest.fixture(scope="module")
def local(data: Path, folder: Path) -> Path:
    build(data, listing(data), folder / "local", [Request("moments", Deadly)], OPTIONS)
    return folder / "local"


@needs_ray
@pytest.mark.parametrize("kind", ["deadly", "gpu"])
def test_bad_recordings_are_rejected_as_by_a_local_build(
    folder: Path, outcomes: dict[str, Any], local: Path, kind: str
) -> None:
    """Also the recording that crashes its worker."""
    assert outcomes[kind] == {"rejected": ["fan/0003.wav", "fan/0021.wav", "fan/0030.wav"]}
    assert_same_rows(folder / kind, local)
    assert verify(folder / kind) == []


@needs_ray
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "failing",
            r"DataError: embedder \w+ fails on float32 waves .*: ValueError: this layer has no weights \(",
        ),
        ("unmade", r"DataError: embedder moments cannot be made: RuntimeError: this library is missing \("),
        ("stillborn", r"ResourceError: 3 Ray workers could not start: on .*, while it made what it computes with: "),
        ("other", r"fingerprint of process \d+ in a worker, of process \d+ in the building process; use the same"),
    ],
)
def test_errors_in_a_worker_are_reported_here(folder: Path, outcomes: dict[str, Any], kind: str, words: str) -> None:
    assert re.search(words, outcomes[kind]["error"]), outcomes[kind]
    assert not FeatureStore.open(folder / kind).embeddings


@needs_ray
def test_workers_that_run_other_code_are_refused(folder: Path, address: str, data: Path) -> None:
    shutil.copytree(folder / "code", folder / "newer")
    with (folder / "newer/embedders/__init__.py").open("a") as file:
        file.write("# changed\n")
    process = start(folder, sys.executable, PLANT, "build", data, folder / "n", address, "trapped", code="newer")
    out, _ = ended(process)
    assert re.search(r"runs other code of this project \(\w+\) than this machine", json.loads(out)["trapped"]["error"])


@pytest.fixture
def trap(folder: Path) -> Iterator[Path]:
    """While this file exists, workers stop in the middle of a task."""
    (folder / "trap").touch()
    yield folder / "trap"
    for path in folder.glob("trap.*"):
        path.unlink()


def caught(trap: Path, n: int) -> list[int]:
    """Ids of `n` processes that wait in the trap."""
    wait_for(lambda: len(list(trap.parent.glob("trap.*"))) >= n, f"{n} actors are embedding")
    return [int(path.suffix[1:]) for path in trap.parent.glob("trap.*")]


def assert_as_without_ray(folder: Path, data: Path, name: str) -> None:
    build(data, listing(data), folder / f"{name}-local", [Request("moments", Trapped)], OPTIONS)
    assert_same_rows(folder / name, folder / f"{name}-local")


@needs_ray
def test_killed_workers_do_not_change_the_result(folder: Path, address: str, data: Path, trap: Path) -> None:
    process = on_ray(folder, address, "trapped")
    victims = caught(trap, 2)
    trap.unlink()
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    out, err = ended(process)
    assert json.loads(out) == {"trapped": {"rejected": ["fan/0003.wav"]}}
    assert "A worker died or was killed" in err
    assert_as_without_ray(folder, data, "trapped")


@needs_ray
def test_an_interrupted_build_resumes_and_leaves_no_process(folder: Path, data: Path, trap: Path) -> None:
    """On a local cluster that the build started; Ctrl-C reaches all its processes."""
    process = on_ray(folder, "local", "stopped")
    victims = caught(trap, 2)
    assert processes_naming(str(folder / "own"))
    os.killpg(process.pid, signal.SIGINT)
    _, err = ended(process, -signal.SIGINT)
    assert "KeyboardInterrupt" in err
    wait_for(lambda: not any(Path("/proc", str(victim)).exists() for victim in victims), "the actors have ended")
    wait_for(lambda: not processes_naming(str(folder / "own")), "the cluster has ended")
    trap.unlink()
    build(data, listing(data), folder / "stopped", [Request("moments", Trapped)], OPTIONS)
    assert_as_without_ray(folder, data, "stopped")


@needs_ray
def test_the_build_command_gives_the_same_store_with_ray(folder: Path, address: str) -> None:
    make_clips(folder / "plant", 40, machine="fan/normal")
    (folder / "plant/fan/normal/0007.wav").write_bytes(b"no sound")
    how = ["-e", "logmel", "--unit-clips", 8, "--device", "cpu"]
    here = ["build", folder / "plant", folder / "c1", *how, "--workers", 0]
    assert CliRunner().invoke(main, list(map(str, here))).exit_code == 3
    program = Path(sys.executable).with_name("featstore")
    how += ["--engine", "ray", "--address", address]
    _, err = ended(start(folder, program, "build", folder / "plant", folder / "c2", *how), 3)
    assert "ETA" in err
    assert "not decodable" in err
    assert_same_rows(folder / "c2", folder / "c1")


def big_store(path: Path) -> Path:
    """Training clips for a bank, and an archive of two units."""
    info, rng = EmbeddingInfo("e", (4,), "float32", "f" * 64), np.random.default_rng(0)
    with StoreWriter(path) as writer:
        for split, n in (("train", 300), ("test", 66_000), ("test", 500)):
            texts = {"machine": "fan", "section": "00", "split": split, "domain": "source", "label": "normal"}
            columns = {name: np.full(n, text.encode()) for name, text in {**texts, "variant": ""}.items()}
            columns["path"] = np.array([f"{split}-{n}-{i}.wav".encode() for i in range(n)])
            columns["attributes"] = np.full(n, b"{}")
            writer.commit([ShardData(info, ClipTable(columns), rng.standard_normal((n, 4), dtype=np.float32))])
    return path


@needs_ray
def test_the_archive_command_writes_the_same_files_with_ray(folder: Path, address: str) -> None:
    store = big_store(folder / "big")
    how = [Path(sys.executable).with_name("detect"), "archive", store, store, "--memory", "500MB"]
    ended(start(folder, *how, "-o", folder / "a1", "--threads", 1))
    ended(start(folder, *how, "-o", folder / "a2", "--engine", "ray", "--address", address))
    names = sorted(path.name for path in (folder / "a1").glob("*.parquet"))
    assert len(names) == 2
    for name in [*names, "top.csv"]:
        assert (folder / "a1" / name).read_bytes() == (folder / "a2" / name).read_bytes()


def test_archive_units_that_crash_their_workers_are_reported_after_all_others(folder: Path) -> None:
    store, out = big_store(folder / "direct"), folder / "out"
    out.mkdir()
    run = ArchiveRun(ArchiveJob(str(store), str(store)), Resources())
    killer, other = run.units
    scorer = Scorer(run.job, run.resources)
    scorer.score(other, out)
    futures: dict[Future[None], Unit] = {Future(): killer, Future(): other}
    for future, unit in futures.items():
        future.set_exception(WorkerCrashed("3 workers crashed")) if unit is killer else future.set_result(None)
    done: list[Unit] = []
    assert finish(futures, out, done.append) == [killer]
    assert done == [other]
    (out / other.file).unlink()
    with pytest.raises(DataError, match="mount the result folder at the same path on every machine"):
        finish(futures, out, done.append)
    with pytest.raises(RequestError, match="a worker sees another content of it"):
        scorer.score(replace(other, id="0" * 16), out)


def test_recordings_that_only_workers_cannot_read_are_an_error(data: Path) -> None:
    lost = [Result(reason="cannot be read: No such file or directory")]
    with pytest.raises(DataError, match=r"0000\.wav: a worker reports 'cannot be read.*must be at the same path"):
        check_mounted(data, Task(("fan/0000.wav",), (0,)), lost)
    check_mounted(data, Task(("fan/gone.wav",), (0,)), lost)


def test_without_ray_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r"pip install 'featstore\[ray\]'"):
        load_ray()


@needs_ray
@pytest.mark.parametrize("where", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_without_a_cluster_fails_at_once(where: str) -> None:
    with pytest.raises(DataError, match=rf"--address {where}: no cluster answers at this address"), cluster(where):
        pass


def test_options_for_a_cluster_need_the_ray_engine() -> None:
    with pytest.raises(OptionError, match="--gpus-per-actor needs --engine ray"):
        BuildRequest(data=Path("data"), store=Path("store"), specs=("logmel",), gpus_per_actor=0.5)
