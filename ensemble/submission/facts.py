"""What the software knows about a submitted system, from the recipe and the embeddings in the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ensemble.recipe import PREDICTED, Recipe
from ensemble.submission.template import ABBREVIATION
from ensemble.windows.recordings import Recordings, rule_text
from featstore.spec import CLASS_PATH
from featstore.store import EmbeddingInfo, FeatureStore

IMPORTED, WEIGHTS, PARAMETERS = "imported", ("checkpoint", "weights", "weights_sha256"), "parameters"
"""Keys in the configuration of an embedding: made elsewhere, made with weights, and the number of these."""

PRETRAINED = "weights_sha256"
"""Key in the configuration of an embedding by a pretrained encoder."""


@dataclass(frozen=True)
class SystemFacts:
    """Name, abbreviation, fields of the description, and the parameters of the networks, None where unknown."""

    name: str
    abbreviation: str
    description: Mapping[str, Any] = field(default_factory=dict)
    total_parameters: int | None = None


def facts_of(store: FeatureStore, recipe: Recipe, recordings: Recordings | None = None) -> SystemFacts:
    """The facts about a recipe on a store; `recordings`: those of the test clips, where some are windows."""
    members, detectors = recipe.members, _distinct(_detector(member.method) for member in recipe.members)
    several = len(members) > 1
    infos = [store.info(name) for name in _distinct(member.embedding for member in members if member.embedding)]
    foreign = any(member.file for member in members)
    pretrained = [info.name for info in infos if PRETRAINED in info.config]
    windows = f"{rule_text(recordings.rule)} over windows" if recordings and recordings.divided else None
    return SystemFacts(
        name=f"{recipe.fusion} of {len(members)} detectors" if several else f"{detectors[0]} on {members[0].source}",
        abbreviation=("ensemble" if several else detectors[0])[:ABBREVIATION],
        description={
            "input_sampling_rate": _joined(
                f"{hz / 1000:g}kHz" for hz in sorted({i.sample_rate_hz for i in infos}) if hz
            ),
            "acoustic_features": _joined(info.name for info in infos),
            "embeddings": _joined(pretrained),
            "machine_learning_method": _joined(detectors),
            "aggregation_method": windows,
            "domain_generalization_method": "predicted domain" if recipe.domains == PREDICTED else None,
            "ensemble_method_subsystem_count": len(members) if several else None,
            "decision_making": _decision(recipe),
            "attribute_usage": f"groups by {recipe.group_by}" if recipe.group_by else None,
            "external_data_usage": "pre-trained model" if pretrained else None,
        },
        total_parameters=None if foreign else _parameters(infos),
    )


def _decision(recipe: Recipe) -> str:
    """Fusion of the members, and how a clip is decided."""
    fusion = f"{recipe.fusion} of the members, " if len(recipe.members) > 1 else ""
    if recipe.fdr:
        return f"{fusion}false-discovery rate {recipe.fdr:g}"
    threshold = "threshold by hand" if recipe.thresholds else f"{recipe.threshold} of normal training scores"
    return f"{fusion}{threshold} at a false-alarm rate of {recipe.false_alarm_rate:g}"


def _parameters(infos: Sequence[EmbeddingInfo]) -> int | None:
    """Parameters of all networks; 0 where no embedding has weights, None where a number is unknown."""
    numbers = [_parameters_of(info.config) for info in infos]
    return None if None in numbers or not numbers else sum(number or 0 for number in numbers)


def _parameters_of(config: Mapping[str, object]) -> int | None:
    number = config.get(PARAMETERS)
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    return None if IMPORTED in config or not config or any(key in config for key in WEIGHTS) else 0


def _detector(method: str) -> str:
    """The name or class path of a detector without its parameters; a score file is called by its name."""
    path = CLASS_PATH.fullmatch(method)
    return path[1] if path else method.partition(":")[0]


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _joined(values: Iterable[str]) -> str | None:
    return ", ".join(values) or None
