"""The metadata file of a submission in the official layout; what is not known about the system is null."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detectors.metrics.official import Evaluation
from ensemble.submission.authors import Stated
from ensemble.submission.facts import SystemFacts
from ensemble.submission.template import AFFILIATION, AUTHOR, DATASET, RESULTS, description_fields
from ensemble.submission.yaml_text import yaml_text
from featstore.disk.files import write_new

SUFFIX = ".meta.yaml"
HEAD = "# Metadata of a submission. !!null: not known, or does not apply; see the submission page of the challenge.\n"


def meta_path(folder: Path) -> Path:
    """FOLDER/<label>.meta.yaml, where the label is the folder's name."""
    return folder / f"{folder.name}{SUFFIX}"


def write_meta(
    folder: Path, year: int, facts: SystemFacts, stated: Stated | None = None, development: Evaluation | None = None
) -> Path:
    """Write the metadata file of a system's folder, and return its path; results of `development` are in percent."""
    meta = _meta(folder.name, year, facts, stated or Stated())
    if development is not None:
        meta["results"]["development_dataset"] = _results(development, year)
    write_new(meta_path(folder), (HEAD + yaml_text(meta)).encode("utf-8"))
    return meta_path(folder)


def _meta(label: str, year: int, facts: SystemFacts, stated: Stated) -> dict[str, Any]:
    system = stated.system
    known = {**facts.description, **system}
    parameters = system.get("total_parameters", facts.total_parameters)
    datasets = system.get("external_datasets") or [dict.fromkeys(DATASET)]
    return {
        "submission": {
            "label": label,
            "name": stated.name or facts.name,
            "abbreviation": stated.abbreviation or facts.abbreviation,
            "authors": [dict(author) for author in stated.authors] or [_nobody()],
        },
        "system": {
            "description": {name: known.get(name) for name in description_fields(year)},
            "complexity": {"total_parameters": parameters},
            "external_datasets": datasets,
            "source_code": system.get("source_code"),
        },
        "results": {"development_dataset": None},
    }


def _nobody() -> dict[str, Any]:
    """An author of whom nothing is known."""
    return {**dict.fromkeys(AUTHOR), "corresponding": True, "affiliation": dict.fromkeys(AFFILIATION)}


def _results(evaluation: Evaluation, year: int) -> dict[str, dict[str, float]]:
    return {
        machine: {
            name: round(100 * evaluation.mean(*metrics, machine=machine), 2) for name, metrics in RESULTS[year].items()
        }
        for machine in evaluation.machines()
    }


def nulls(value: Any, path: str = "") -> Iterator[str]:
    """Paths of all null values, such as submission.authors[0].email."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from nulls(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from nulls(item, f"{path}[{i}]")
    elif value is None:
        yield path
