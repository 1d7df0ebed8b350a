"""Plants in the DCASE 2020 layout: several machines of one kind, no domains, no attributes.

OUT/dev_data/raw/<machine>/train/normal_id_00_00000000.wav
OUT/dev_data/raw/<machine>/test/{normal,anomaly}_id_00_00000000.wav
OUT/individuals.csv         how every individual deviates from its type, in tolerances; for analysis only
OUT/truth.csv               condition, fault and severity of every clip; for analysis only
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from featstore.plant.individuals.build import TOLERANCES, build_of
from featstore.plant.individuals.fleet import Fleet, FleetClip, plan
from featstore.plant.individuals.sound import synthesise
from featstore.plant.style import Style, Table


def _parameters(fleet: Fleet) -> dict[str, Any]:
    return {"style": "dcase2020", **asdict(fleet)}


def _tables(fleet: Fleet, clips: Sequence[FleetClip]) -> Iterator[Table]:
    rows = [_deviations(fleet, machine, number) for machine in fleet.machines for number in range(fleet.ids)]
    yield "individuals.csv", [["machine", "id", *TOLERANCES, "slip"], *rows]
    header = ["file_name", "machine", "id", "split", "label", "number", "condition", "fault", "severity"]
    yield "truth.csv", [header, *map(_truth, clips)]


def _deviations(fleet: Fleet, machine: str, number: int) -> list[str]:
    build = build_of(fleet.seed, machine, number)
    deviations = (f"{build.deviations[name]:.3f}" if name in build.deviations else "" for name in TOLERANCES)
    return [machine, f"id_{number:02d}", *deviations, f"{build.slip:.3f}"]


def _truth(clip: FleetClip) -> list[str]:
    condition = " ".join(f"{name}={value:.4g}" for name, value in clip.condition)
    machine, number, *rest = clip.identity
    place = [clip.path, machine, f"id_{number:02d}", *map(str, rest)]
    return [*place, condition, clip.fault, f"{clip.severity:g}"]


DCASE2020 = Style(plan, synthesise, _parameters, _tables)
"""Several machines of each type: featstore.plant.individuals."""
