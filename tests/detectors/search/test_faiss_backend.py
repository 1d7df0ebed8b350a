"""faiss is loaded with the kernel for this processor."""

import json
import os
import subprocess
import sys

import pytest

from detectors.search import faiss_backend


@pytest.mark.parametrize(
    ("flags", "kernel"),
    [
        ("fpu avx2 fma avx512f avx512dq avx512bw avx512vl", "SkylakeX"),
        ("fpu avx2 fma avx512f", "Haswell"),
        ("fpu sse2", ""),
        (None, ""),
    ],
)
def test_kernel_by_processor_flags(tmp_path, flags, kernel):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert faiss_backend.kernel_of_this_cpu(cpuinfo) == kernel


def test_faiss_runs_with_the_right_kernel():
    pytest.importorskip("faiss")
    if not faiss_backend.kernel_of_this_cpu():
        pytest.skip("the kernel for this processor is unknown")
    code = (
        "import os; from detectors.search import faiss_backend; faiss_backend.load();"
        "print(os.environ['OPENBLAS_CORETYPE'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == faiss_backend.kernel_of_this_cpu()


def test_the_facts_name_the_kernel_and_whether_it_is_slow():
    pytest.importorskip("faiss")
    if not faiss_backend.kernel_of_this_cpu():
        pytest.skip("the kernel for this processor is unknown")
    code = "import json; from detectors.search.faiss_backend import facts; print(json.dumps(facts()))"
    kernels = {}
    for given in ("", "Prescott"):
        environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
        environment |= {"OPENBLAS_CORETYPE": given} if given else {}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        found = json.loads(done.stdout)
        kernels[given] = (found["kernel"], found["slow"])
    assert kernels == {"": (faiss_backend.kernel_of_this_cpu(), False), "Prescott": ("Prescott", True)}
    assert found["better"] == faiss_backend.kernel_of_this_cpu()
    assert found["version"]
