"""Rank and world size of this worker, from the environment variables of its launcher."""

from collections.abc import Callable, Mapping

from featstore.errors import RequestError

Place = tuple[int, int | None]
"""Rank, and world size when the launcher sets it."""


def torchrun(env: Mapping[str, str]) -> Place:
    """Rank over all nodes; other PyTorch launchers and MPI wrappers set the same variables."""
    return int(env["RANK"]), int(env["WORLD_SIZE"])


def kubernetes(env: Mapping[str, str]) -> Place:
    """Index of a pod in an indexed job; Kubernetes does not set the number of pods."""
    return int(env["JOB_COMPLETION_INDEX"]), None


def slurm(env: Mapping[str, str]) -> Place:
    """Index of a task over all tasks of a job, or over all jobs of a job array."""
    task, n_tasks = int(env.get("SLURM_PROCID", "0")), int(env.get("SLURM_NTASKS", "1"))
    if "SLURM_ARRAY_TASK_ID" not in env:
        return task, n_tasks
    first, step = int(env["SLURM_ARRAY_TASK_MIN"]), int(env.get("SLURM_ARRAY_TASK_STEP", "1"))
    job = (int(env["SLURM_ARRAY_TASK_ID"]) - first) // step
    return job * n_tasks + task, int(env["SLURM_ARRAY_TASK_COUNT"]) * n_tasks


LAUNCHERS: Mapping[str, Callable[[Mapping[str, str]], Place]] = {
    "RANK": torchrun,
    "JOB_COMPLETION_INDEX": kubernetes,
    "SLURM_JOB_ID": slurm,
}
"""The variable that identifies each launcher, inner launchers first: torchrun runs inside Slurm."""


def place(rank: str, world: str | None, env: Mapping[str, str]) -> tuple[int, int]:
    """Rank and world size from two option texts, numbers or "auto" for the values of the launcher.

    Raises RequestError when the launcher does not set them.
    """
    detected: Place | None = None
    if "auto" in (rank, world):
        variable = next((name for name in LAUNCHERS if name in env), None)
        if variable is None:
            raise RequestError(
                f"--rank auto: none of {', '.join(LAUNCHERS)} is set in the environment; use --rank I --world N"
            )
        try:
            detected = LAUNCHERS[variable](env)
        except (KeyError, ValueError) as error:
            raise RequestError(
                f"--rank auto: {variable} is set, but its values are incomplete or invalid ({error}); "
                "use --rank I --world N"
            ) from error
    try:
        index = detected[0] if detected and rank == "auto" else int(rank)
        total = detected[1] if detected and world in (None, "auto") else int(world or "")
    except ValueError as error:
        raise RequestError(f"--rank {rank} --world {world or '(not given)'}: expected two integers, or auto") from error
    if total is None:
        raise RequestError("--world auto: this launcher does not set the number of workers; use --world N")
    return index, total
