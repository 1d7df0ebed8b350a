"""Rank and world size from the environment variables of Slurm, torchrun and Kubernetes."""

import pytest

from featstore.distributed.launchers import place
from featstore.errors import RequestError

SRUN = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_NTASKS": "8"}
ARRAY = {
    "SLURM_JOB_ID": "9",
    "SLURM_ARRAY_TASK_ID": "14",
    "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "5",
}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"RANK": "5", "WORLD_SIZE": "16"}, (5, 16)),
        (SRUN, (3, 8)),
        (ARRAY, (2, 5)),
        (ARRAY | {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, (9, 20)),
        (SRUN | {"RANK": "5", "WORLD_SIZE": "16"}, (5, 16)),
    ],
    ids=["torchrun", "srun", "array", "srun in an array", "torchrun under srun"],
)
def test_rank_and_world_of_every_launcher(env: dict[str, str], expected: tuple[int, int]) -> None:
    assert place("auto", "auto", env) == place("auto", None, env) == expected


def test_an_array_covers_every_share_once() -> None:
    tasks = [ARRAY | {"SLURM_ARRAY_TASK_ID": str(i), "SLURM_NTASKS": "2"} for i in (10, 12, 14, 16, 18)]
    places = [place("auto", "auto", task | {"SLURM_PROCID": str(j)}) for task in tasks for j in (0, 1)]
    assert sorted(places) == [(rank, 10) for rank in range(10)]


def test_a_kubernetes_pod_needs_the_number_of_pods() -> None:
    pod = {"JOB_COMPLETION_INDEX": "2"}
    assert place("auto", "8", pod) == (2, 8)
    with pytest.raises(RequestError, match="use --world N"):
        place("auto", "auto", pod)


def test_given_numbers_override_the_launcher() -> None:
    assert place("0", "4", {}) == (0, 4)
    assert place("1", "2", SRUN) == (1, 2)


@pytest.mark.parametrize(
    ("rank", "world", "env", "words"),
    [
        ("auto", "auto", {}, "none of RANK"),
        ("auto", "auto", {"RANK": "1"}, "WORLD_SIZE"),
        ("auto", "auto", {"RANK": "x", "WORLD_SIZE": "2"}, "use --rank"),
        ("1", None, {}, "expected two integers"),
        ("one", "2", {}, "expected two integers"),
    ],
)
def test_missing_or_invalid_values_are_reported(rank: str, world: str | None, env: dict[str, str], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        place(rank, world, env)
