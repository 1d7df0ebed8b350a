"""A tiny stand-in for the data of every DCASE year: all evaluation machines and sections, and a labelled machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
TRAIN, TEST = 3, 4


def _of(machines: str, sections: str = "00") -> dict[str, tuple[str, ...]]:
    return {machine: tuple(sections.split()) for machine in machines.split()}


EVALUATION = {
    2020: _of("fan pump slider valve", "01 03 05") | _of("ToyCar", "05 06 07") | _of("ToyConveyor", "04 05 06"),
    2021: _of("fan gearbox pump slider ToyCar ToyTrain valve", "03 04 05"),
    2022: _of("ToyCar ToyTrain bearing fan gearbox slider valve", "03 04 05"),
    2023: _of("bandsaw grinder shaker ToyDrone ToyNscale ToyTank Vacuum"),
    2024: _of(
        "3DPrinter AirCompressor BrushlessMotor HairDryer HoveringDrone RoboticArm Scanner ToothBrush ToyCircuit"
    ),
    2025: _of("AutoTrash BandSealer CoffeeGrinder HomeCamera Polisher ScrewFeeder ToyPet ToyRCCar"),
    2026: _of("ToyDrone ToothBrush SewingMachine BlowerDustCollector Sander"),
}
"""Machines and sections of the evaluation data as the rules of each year state them."""

DEV = "fan"


def names(year: int) -> Iterator[str]:
    """The path of every recording below the root, in the folders and under the names of the year."""
    machines = [(machine, section) for machine, sections in EVALUATION[year].items() for section in sections]
    for machine, section in machines:
        for i in range(TRAIN):
            stem = f"section_{section}_{'source' if i else 'target'}_train_normal_{i:04d}_noAttribute"
            yield f"eval_data/raw/{machine}/train/{f'normal_id_{section}_{i:08d}' if year == 2020 else stem}.wav"
        for i in range(TEST):
            if year == 2020:
                yield f"eval_data/raw/{machine}/test/id_{section}_{i:08d}.wav"
            elif year == 2021:
                for domain in ("source", "target"):
                    yield f"eval_data/raw/{machine}/{domain}_test/section_{section}_{domain}_test_{i:04d}.wav"
            else:
                yield f"eval_data/raw/{machine}/test/section_{section}_{i:04d}.wav"
    home = f"dev_data/raw/{DEV}"
    for i in range(TRAIN):
        stem = f"section_00_{'source' if i else 'target'}_train_normal_{i:04d}_noAttribute"
        yield f"{home}/train/{f'normal_id_00_{i:08d}' if year == 2020 else stem}.wav"
    for domain in ("source", "target"):
        for label in ("normal", "anomaly"):
            folder = f"{domain}_test" if year == 2021 else "test"
            if year == 2020:
                yield f"{home}/test/{label}_id_00_{'0' if domain == 'source' else '1':0>8}.wav"
            else:
                yield f"{home}/{folder}/section_00_{domain}_test_{label}_0000_noAttribute.wav"


def record_year(root: Path, year: int, seconds: float = 0.15) -> Path:
    """Write the recordings: noise, of two channels in 2026; anomalies are louder."""
    for seed, name in enumerate(names(year)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (round(seconds * RATE), 2) if year == 2026 else round(seconds * RATE)
        wave = np.random.default_rng(seed).normal(0, 0.3 if "anomaly" in name else 0.1, shape)
        soundfile.write(path, wave, RATE)
    return root
