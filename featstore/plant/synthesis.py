"""The sound of one clip of a simulated plant."""

import numpy as np
from scipy import fft

from featstore.plant.acoustics import Scene
from featstore.plant.grid import Grid, rng_of
from featstore.plant.machines import MACHINES
from featstore.plant.pair_scene import record_pair
from featstore.plant.place import Place
from featstore.plant.plan import Plant, SimulatedClip

PLACE = ("bg", "day")
"""Attributes that say where and when a recording is made, and nothing of the machine's condition."""


def synthesise(plant: Plant, clip: SimulatedClip) -> np.ndarray:
    """The recording of `clip`, float32 within [-1, 1]: (samples,), or (samples, 2) of a near and a far microphone."""
    machine = MACHINES[clip.machine]
    place = place_of(plant, clip)
    grid = Grid(fft.next_fast_len(plant.samples, real=True), plant.sample_rate_hz)
    scene = Scene(rng_of(plant.seed, *clip.identity, "sound"), grid, place)
    wear = dict.fromkeys(machine.faults, 0.0) | ({clip.fault: clip.severity} if clip.fault else {})
    machine.render(scene, {name: float(value) for name, value in clip.attributes if name not in PLACE}, wear)
    if plant.pair:
        sound = record_pair(scene, machine.site, plant.pair)[:, : plant.samples].T
    else:
        sound = scene.record(machine.site)[: plant.samples]
    return sound * min(1.0, 0.98 / float(np.abs(sound).max(initial=1e-9)))


def place_of(plant: Plant, clip: SimulatedClip) -> Place:
    """Where and when a clip is recorded."""
    attributes = dict(clip.attributes)
    return Place(plant.seed, clip.machine, clip.domain, attributes["bg"], int(attributes.get("day", 0)))
