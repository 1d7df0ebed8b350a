"""The whole examination: every probe once, those of heavy libraries beside the others."""

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import featstore
from featstore.doctor.accelerators import blas_found, faiss_found, gpu_found
from featstore.doctor.apart import Apart
from featstore.doctor.extras import DEVELOPMENT, Extra, extras_of
from featstore.doctor.finding import BROKEN, Finding, probed
from featstore.doctor.machine import cores_found, memory_found, variables_found
from featstore.doctor.places import file_system_found, hub_cache, is_store, space_found, store_found
from featstore.doctor.requirements import Library, installed, library, numbers, parsed, pinned
from featstore.doctor.sound import formats_found

PACKAGE = "featstore"
IMPORTED = ("numpy", "h5py", "soundfile", "soxr", "scipy", "xxhash")
"""Libraries of the base that load fast; each is imported once."""


@dataclass(frozen=True)
class Examination:
    """Findings, the libraries of the base installation, and the extras."""

    findings: tuple[Finding, ...]
    libraries: tuple[Library, ...]
    extras: tuple[Extra, ...]

    @property
    def broken(self) -> list[str]:
        """What the base installation needs and does not work, in words."""
        return [
            *(f"{finding.name}: {finding.text}" for finding in self.findings if finding.state == BROKEN),
            *(library.problem for library in self.libraries if library.problem),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "ok": not self.broken,
            "broken": self.broken,
            "findings": [finding.as_json() for finding in self.findings],
            "libraries": [
                {"name": a.name, "installed": a.installed, "least": a.least, "tested": a.tested, "problem": a.problem}
                for a in self.libraries
            ],
            "extras": [extra.as_json() for extra in self.extras],
        }


def examine(place: Path | None = None, *, gpu: bool = True) -> Examination:
    """Everything that can be found out. place: a store, or a folder for one. gpu: also load torch."""
    home = Path(featstore.__file__).parent
    requirements = parsed(_metadata().get_all("Requires-Dist") or [])
    if not (home.parent / "pyproject.toml").is_file():
        requirements = [item for item in requirements if item.extra not in DEVELOPMENT]
    tested = pinned(home.parent / "constraints.txt")
    with ExitStack() as stack:
        answers = {name: stack.enter_context(Apart(name)).answer for name in ("faiss", *(["gpu"] if gpu else []))}
        findings = tuple(_findings(home, place, answers))
    base = tuple(library(requirement, tested) for requirement in requirements if not requirement.extra)
    return Examination(findings, base, tuple(extras_of(requirements, tested)))


def _findings(home: Path, place: Path | None, answers: dict[str, Callable[[], dict[str, Any]]]) -> Iterator[Finding]:
    yield probed("featstore", partial(_package_found, home), failed=BROKEN)
    yield probed("Python", _python_found, failed=BROKEN)
    yield probed("libraries", _imports_found, failed=BROKEN)
    yield probed("cores", cores_found)
    yield probed("memory", memory_found)
    yield probed("numpy's BLAS", blas_found)
    yield probed("sound files", formats_found, failed=BROKEN)
    yield probed("temporary files", lambda: space_found("temporary files", Path(tempfile.gettempdir())))
    yield probed("downloads", lambda: space_found("downloads", hub_cache()))
    if place is not None:
        yield probed("place", lambda: space_found("place", place))
        yield probed("file system", lambda: file_system_found(place))
        if is_store(place):
            yield probed("store", lambda: store_found(place), failed=BROKEN)
    yield probed("environment", variables_found)
    yield probed("faiss", lambda: faiss_found(answers["faiss"]))
    if "gpu" in answers:
        yield probed("GPU", lambda: gpu_found(answers["gpu"]), failed=BROKEN)  # torch does not load


def _metadata() -> Any:
    """What the installed package says of itself; nothing where it is not installed."""
    try:
        return metadata(PACKAGE)
    except PackageNotFoundError:
        from email.message import Message

        return Message()


def _package_found(home: Path) -> Finding:
    version = installed(PACKAGE)
    if not version:
        return Finding(PACKAGE, f"{home} is used, but not installed", BROKEN, "pip install -e . in the checkout")
    return Finding(PACKAGE, f"{version} in {home}")


def _python_found() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}; {platform.system()} {platform.machine()}"
    least = str(_metadata().get("Requires-Python") or "").removeprefix(">=")
    if numbers(platform.python_version()) < numbers(least):
        return Finding("Python", text, BROKEN, f"install Python {least} or newer")
    return Finding("Python", text)


def _imports_found() -> Finding:
    """Whether the libraries of the base that load fast can be imported."""
    failed = {}
    for name in IMPORTED:
        try:
            import_module(name)
        except Exception as error:  # whatever a broken library raises
            failed[name] = f"{name} ({type(error).__name__}: {error})"
    if failed:
        mend = f"pip install --force-reinstall {' '.join(failed)}"
        return Finding("libraries", f"cannot be imported: {'; '.join(failed.values())}", BROKEN, mend)
    return Finding("libraries", f"{', '.join(IMPORTED)} load")
