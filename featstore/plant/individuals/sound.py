"""The sound of one clip of a plant with several machines of one kind."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from scipy import fft

from featstore.plant.grid import Grid, rng_of
from featstore.plant.individuals.build import Build, build_of
from featstore.plant.individuals.faults import SHIFTS, WEAR
from featstore.plant.individuals.fleet import Fleet, FleetClip
from featstore.plant.individuals.scene import IndividualScene
from featstore.plant.machines import MACHINES
from featstore.plant.place import Place

SNR_DB: Mapping[str, float] = MappingProxyType(
    {"bearing": -8.0, "fan": 0.0, "gearbox": 0.0, "pump": -3.0, "slider": 0.0, "valve": 0.0}
)
"""Level of a machine's sources above the noise of the hall; levels of machines as in `acoustics`."""

CLANKS_PER_S = 1.0


def synthesise(fleet: Fleet, clip: FleetClip) -> np.ndarray:
    """The recording of `clip`, float32 (samples,) within [-1, 1]."""
    machine = MACHINES[clip.machine]
    grid = Grid(fft.next_fast_len(fleet.samples, real=True), fleet.sample_rate_hz)
    build = individual(fleet.seed, clip.machine, clip.id)
    if clip.fault:
        build = build.moved(SHIFTS[clip.machine][clip.fault], clip.severity)
    place = Place(fleet.seed, clip.machine, f"id_{clip.id:02d}", "")
    scene = IndividualScene(rng_of(fleet.seed, *clip.identity, "sound"), grid, place, build)
    wear = dict.fromkeys(machine.faults, 0.0) | ({clip.fault: WEAR * clip.severity} if clip.fault else {})
    machine.render(scene, dict(clip.condition), wear)
    sound = scene.heard(SNR_DB[clip.machine], CLANKS_PER_S)[: fleet.samples]
    return sound * min(1.0, 0.98 / float(np.abs(sound).max(initial=1e-9)))


@lru_cache(maxsize=256)
def individual(seed: int, machine: str, number: int) -> Build:
    """`build_of`, remembered."""
    return build_of(seed, machine, number)
