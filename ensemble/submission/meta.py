"""The metadata file of a submission in the official layout; what is not known about the system is null."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.metrics.official import Evaluation
from featstore.disk.files import write_new


@dataclass(frozen=True)
class SystemFacts:
    """What the software knows about a system. The authors add names, affiliations and descriptions."""

    name: str
    abbreviation: str  # at most 10 characters in the result tables
    acoustic_features: str
    machine_learning_method: str
    subsystems: int
    decision_making: str
    sampling_rate_khz: float | None = None
    total_parameters: int | None = None


def write_meta(folder: Path, facts: SystemFacts, development: Evaluation | None = None) -> Path:
    """Write FOLDER/<label>.meta.yaml, where the label is the folder's name; metrics of `development` are in percent."""
    path = folder / f"{folder.name}.meta.yaml"
    text = "# Fill in every null; see the submission page of the challenge.\n" + _yaml(
        _meta(folder.name, facts, development)
    )
    write_new(path, text.encode("utf-8"))
    return path


def _meta(label: str, facts: SystemFacts, development: Evaluation | None) -> dict[str, Any]:
    affiliation = dict.fromkeys(("abbreviation", "institute", "department", "location"))
    author = {"lastname": None, "firstname": None, "email": None, "corresponding": True, "affiliation": affiliation}
    return {
        "submission": {
            "label": label,
            "name": facts.name,
            "abbreviation": facts.abbreviation[:10],
            "authors": [author],
        },
        "system": {
            "description": {
                "input_sampling_rate": facts.sampling_rate_khz,
                "data_augmentation": None,
                "acoustic_features": facts.acoustic_features,
                "machine_learning_method": facts.machine_learning_method,
                "ensemble_method_subsystem_count": facts.subsystems,
                "decision_making": facts.decision_making,
                "external_data_usage": None,
            },
            "complexity": {"total_parameters": facts.total_parameters, "MACS": None},
            "external_datasets": None,
            "source_code": None,
        },
        "results": {"development_dataset": _results(development) if development is not None else None},
    }


def _results(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    metrics = evaluation.rows[0].values
    return {
        machine: {name: round(100 * evaluation.mean(name, machine=machine), 2) for name in metrics}
        for machine in evaluation.machines()
    }


def _yaml(value: Any, indent: int = 0) -> str:
    """YAML of nested mappings, lists of mappings and plain values; text is quoted as in JSON."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        return "".join(
            f"{pad}{json.dumps(key) if not key.isidentifier() else key}:"
            + (f"\n{_yaml(item, indent + 1)}" if isinstance(item, Mapping | list) else f" {_plain(item)}\n")
            for key, item in value.items()
        )
    return "".join(f"{pad}- {_yaml(item, indent + 1).lstrip()}" for item in value)


def _plain(value: Any) -> str:
    return "!!null" if value is None else json.dumps(value, ensure_ascii=False)
