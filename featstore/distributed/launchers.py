"""Rank and world of this worker, as the launcher that started it tells them in its environment."""

from collections.abc import Callable, Mapping

from featstore.errors import RequestError

Place = tuple[int, int | None]
"""Rank, and world where the launcher tells it."""


def torchrun(env: Mapping[str, str]) -> Place:
    """Rank over all nodes; other launchers of PyTorch and MPI wrappers set the same names."""
    return int(env["RANK"]), int(env["WORLD_SIZE"])


def kubernetes(env: Mapping[str, str]) -> Place:
    """Index of a pod of an indexed job, which is not told how many there are."""
    return int(env["JOB_COMPLETION_INDEX"]), None


def slurm(env: Mapping[str, str]) -> Place:
    """Task of a job, task of an array, or task of a job that is one of an array."""
    task, tasks = int(env.get("SLURM_PROCID", "0")), int(env.get("SLURM_NTASKS", "1"))
    if "SLURM_ARRAY_TASK_ID" not in env:
        return task, tasks
    first, step = int(env["SLURM_ARRAY_TASK_MIN"]), int(env.get("SLURM_ARRAY_TASK_STEP", "1"))
    job = (int(env["SLURM_ARRAY_TASK_ID"]) - first) // step
    return job * tasks + task, int(env["SLURM_ARRAY_TASK_COUNT"]) * tasks


LAUNCHERS: Mapping[str, Callable[[Mapping[str, str]], Place]] = {
    "RANK": torchrun,
    "JOB_COMPLETION_INDEX": kubernetes,
    "SLURM_JOB_ID": slurm,
}
"""The variable a launcher is known by, inner ones first: torchrun runs inside Slurm, not the other way round."""


def place(rank: str, world: str | None, env: Mapping[str, str]) -> tuple[int, int]:
    """Rank and world from texts: numbers, or auto for what the launcher says; RequestError when it says nothing."""
    told: Place | None = None
    if "auto" in (rank, world):
        mark = next((name for name in LAUNCHERS if name in env), None)
        if mark is None:
            raise RequestError(f"--rank auto: none of {', '.join(LAUNCHERS)} is set here; give --rank I --world N")
        try:
            told = LAUNCHERS[mark](env)
        except (KeyError, ValueError) as error:
            raise RequestError(
                f"--rank auto: {mark} is set, but {error} does not fit; give --rank I --world N"
            ) from error
    try:
        index = told[0] if told and rank == "auto" else int(rank)
        total = told[1] if told and world in (None, "auto") else int(world or "")
    except ValueError as error:
        raise RequestError(f"--rank {rank} --world {world or ''}: expected two numbers, or auto") from error
    if total is None:
        raise RequestError("--world auto: this launcher does not say how many workers there are; give --world N")
    return index, total
