"""The fields of a submission's metadata file in every year.

They are those of the files that teams published with their submissions of 2020, 2021, 2022 and 2026. The files of 2023
to 2025 are taken to have the fields of 2026.
"""

from collections.abc import Mapping

SINCE: Mapping[str, int] = {
    "input_sampling_rate": 2020,
    "data_augmentation": 2020,
    "front_end": 2020,
    "acoustic_features": 2020,
    "embeddings": 2020,
    "machine_learning_method": 2020,
    "aggregation_method": 2020,
    "domain_adaptation_method": 2021,
    "domain_generalization_method": 2022,
    "ensemble_method_subsystem_count": 2020,
    "decision_making": 2020,
    "attribute_usage": 2022,
    "external_data_usage": 2020,
    "development_data_usage": 2020,
}
"""Fields of system.description, in order, with the first year of each."""

AFFILIATION = ("institution", "department", "location")
OPTIONAL = ("department",)
"""Fields of an author that may be null."""

AUTHOR = ("lastname", "firstname", "email")
DATASET = ("name", "url")
ABBREVIATION = 10
"""Most characters of an abbreviation in the result tables."""

NEEDED = ("input_sampling_rate", "acoustic_features", "machine_learning_method")
"""Fields of system.description that apply to every system; others may be null where they do not apply."""

_SINCE_2023 = {"auc_source": ("auc_source",), "auc_target": ("auc_target",), "pauc": ("pauc",)}

RESULTS: Mapping[int, Mapping[str, tuple[str, ...]]] = {
    2020: {"averaged_auc": ("auc",), "averaged_pauc": ("pauc",)},
    2021: {
        "harmonic_mean_auc": ("auc_source", "auc_target"),
        "harmonic_mean_pauc": ("pauc_source", "pauc_target"),
    },
    2022: {f"harmonic_mean_{name}": metrics for name, metrics in _SINCE_2023.items()},
    **dict.fromkeys(range(2023, 2027), _SINCE_2023),
}
"""Results of a machine: the name in the file, and the metrics of the year's rule that it is the mean of."""


def description_fields(year: int) -> tuple[str, ...]:
    """The fields of system.description in the file of a year."""
    return tuple(name for name, first in SINCE.items() if first <= year)
