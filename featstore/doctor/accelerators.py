"""What the probes of torch and faiss answered, as findings."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from featstore.console import size
from featstore.doctor.finding import NOTE, Finding
from featstore.doctor.requirements import installed
from featstore.terminal.shown import counted

Answer = Callable[[], dict[str, Any]]

FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss")
"""Distributions that bring the module faiss; two of them overwrite each other."""


def gpu_found(answer: Answer) -> Finding:
    """The GPUs that torch sees, or why it sees none."""
    found = answer()
    devices = [
        f"{device['name']} ({size(device['free'])} free of {size(device['total'])})" for device in found["devices"]
    ]
    if devices:
        return Finding("GPU", f"{', '.join(devices)}; torch {found['torch']}")
    return Finding("GPU", f"none: {found['why']}; commands use the processor")


def faiss_found(answer: Answer) -> Finding:
    """Which faiss is installed, and whether its linear algebra is fast on this processor."""
    packages = [f"{name} {version}" for name in FAISS if (version := installed(name))]
    if not packages and find_spec("faiss") is None:
        return Finding("faiss", "not installed; exact search works without it")
    if len(packages) > 1:
        text = f"{' and '.join(packages)} overwrite each other"
        return Finding("faiss", text, NOTE, "pip uninstall both, then pip install 'featstore[cpu]' or 'featstore[gpu]'")
    found = answer()
    gpus = f", {counted(found['gpus'], 'GPU')}" if found["gpus"] else ""
    kernel = f", kernel {found['kernel']}" if found["kernel"] else ""
    text = f"{packages[0] if packages else 'faiss ' + found['version']}{gpus}{kernel}"
    if not found["slow"]:
        return Finding("faiss", text)
    cure = f"unset OPENBLAS_CORETYPE, or set it to {found['better']}"
    return Finding("faiss", f"{text} is slow here: {found['better']} is several times faster", NOTE, cure)


def blas_found() -> Finding:
    """The linear algebra of numpy, its kernel and its threads."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    texts = [
        f"{pool['internal_api']} {pool.get('version') or ''} {pool.get('architecture') or ''}, "
        f"{counted(pool['num_threads'], 'thread')}"
        for pool in pools
    ]
    return Finding("numpy's BLAS", "; ".join(texts) or "unknown")
