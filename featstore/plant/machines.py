"""Signal models of the six simulated machines and their faults.

A model is one function: it adds a machine's sources to a Scene, given the operating condition and the wear of each
part. A healthy machine has every wear at 0; a fault is one wear between 0 and 1. The sizes of the faults were set with
scripts/calibrate_simulation.py, so that the background hides the mildest faults but not the worst.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from featstore.plant.acoustics import Scene, Site
from featstore.plant.grid import TABLE_SIZE, look_up

Condition = Mapping[str, float]
Wear = Mapping[str, float]

FAN_BLADES = 7
PUMP_VANES = 5
GEAR_TEETH, GEAR_RATIO = 23, 23 / 37
BEARING_BALLS, BALL_TO_PITCH = 9, 0.25
OUTER_RACE = BEARING_BALLS / 2 * (1 - BALL_TO_PITCH)  # ball passes of the outer race per revolution of the shaft
INNER_RACE = BEARING_BALLS / 2 * (1 + BALL_TO_PITCH)
BALL_SPIN = (1 - BALL_TO_PITCH**2) / BALL_TO_PITCH  # impacts of one damaged ball, on both races
CAGE = (1 - BALL_TO_PITCH) / 2
ONCE = np.cos(2 * np.pi * np.arange(TABLE_SIZE) / TABLE_SIZE)  # one period per revolution


@dataclass(frozen=True)
class Machine:
    """A machine type: its model, its faults, and the attribute values of each domain (numbers, except for `bg`)."""

    render: Callable[[Scene, Condition, Wear], None]
    faults: tuple[str, ...]
    source: Mapping[str, tuple[str, ...]]
    target: Mapping[str, tuple[str, ...]]
    site: Site


def fan(scene: Scene, condition: Condition, wear: Wear) -> None:
    """Axial fan: tones at the blade-pass frequency and broad flow noise, which grows with speed and load."""
    speed_hz = condition["spd"] * (1 + 0.004 * scene.rng.normal())
    angle = scene.rotation(speed_hz)
    orders = 0.012 * scene.vary(5, 60)
    orders[0] = 0
    orders[1] += 0.10 * scene.vary(2) + 0.5 * wear["imbalance"]
    orders[2] += 0.1 * wear["imbalance"]
    orders[1:40] += 0.09 * wear["blade_damage"] * scene.vary(4, 39)
    passes = np.arange(1, 8)
    orders[FAN_BLADES * passes] += 0.45 / passes * scene.vary(2, 7) * (1 - 0.6 * wear["clogging"])
    depth = 0.05 + 0.35 * wear["imbalance"]
    scene.tones += scene.periodic(angle, orders) * _modulation(angle, depth)
    flow = 0.6 * (condition["spd"] / 26) ** 2 * (1 + 0.1 * condition["load"]) * scene.vary(1)
    scene.add_noise(900 * condition["spd"] / 26 * (1 - 0.5 * wear["clogging"]), 1.1, flow)
    scene.add_noise(250, 0.7, 1.0 * wear["clogging"])
    _rattle(scene, angle, 3.0 * wear["rattle"])


def pump(scene: Scene, condition: Condition, wear: Wear) -> None:
    """Centrifugal pump: tones at the vane-pass frequency, motor hum, flow noise and occasional cavitation."""
    speed_hz = condition["spd"] * (1 + 0.003 * scene.rng.normal())
    angle = scene.rotation(speed_hz)
    orders = 0.01 * scene.vary(5, 50)
    orders[0] = 0
    orders[[1, 2]] += 0.12 * scene.vary(2, 2)
    passes = np.arange(1, 7)
    orders[PUMP_VANES * passes] += 0.4 / passes**0.7 * scene.vary(2, 6) * (1 - 0.6 * wear["clogging"])
    scene.tones += scene.periodic(angle, orders)
    scene.add_noise(700 + 100 * condition["load"], 1.0, 0.5 * scene.vary(1) * (1 - 0.4 * wear["clogging"]))
    scene.add_noise(250, 0.6, 1.0 * wear["clogging"])
    scene.add_noise(4200, 0.45, 0.45 * wear["leakage"])
    collapses = scene.rng.poisson((4 + 120 * wear["cavitation"]) * scene.grid.seconds)
    times_s = scene.rng.uniform(0, scene.grid.seconds, collapses)
    scene.add_impacts("bearing", times_s, 1.0 * scene.vary(5, collapses))
    _spall(scene, angle, OUTER_RACE, 1.5 * wear["bearing_wear"])


def valve(scene: Scene, condition: Condition, wear: Wear) -> None:
    """Solenoid valve: a click, flow noise while open, a click, silence; the pattern number sets the period."""
    rng, grid = scene.rng, scene.grid
    period_s = 0.7 + 0.15 * condition["pat"]
    opens_s = np.arange(-rng.uniform(0, period_s), grid.seconds, period_s)
    opens_s = opens_s + rng.normal(0, 0.006, len(opens_s)) + _sometimes(scene, len(opens_s), 0.15) * wear["sticking"]
    closes_s = opens_s + period_s * 0.45 + rng.normal(0, 0.006, len(opens_s))
    impact = 4.0 * scene.vary(1.5, len(opens_s)) * (1 - 0.7 * wear["weak_spring"])
    scene.add_impacts("body", opens_s, impact)
    scene.add_impacts("rail", closes_s, 0.8 * impact)
    for bounce in (1, 2, 3):
        again_s = 0.022 * bounce * scene.vary(1, len(opens_s))
        scene.add_impacts("rail", closes_s + again_s, 1.6 * impact * 0.8**bounce * wear["chatter"])
    rise_s = 0.012 + 0.12 * wear["sticking"]
    flow = _gate(grid.control_s, opens_s, closes_s, rise_s)
    level = 0.55 * (1 + 0.1 * condition["load"]) * scene.vary(1)
    scene.add_modulated_noise(
        grid.upsample(level * flow + 0.2 * wear["leakage"] * (1 - flow)), 2200 + 200 * condition["load"], 0.8
    )
    scene.add_noise(150, 0.4, 0.2)


def slider(scene: Scene, condition: Condition, wear: Wear) -> None:
    """Slide rail: strokes in both directions with friction noise, tones of a screw, and impacts at the end stop."""
    rng, grid = scene.rng, scene.grid
    stroke_s = 1.1 * 700 / condition["vel"] * (1 + 0.004 * rng.normal())
    starts_s = np.arange(-rng.uniform(0, stroke_s), grid.seconds, stroke_s)
    within = np.mod(grid.control_s - starts_s[0], stroke_s) / stroke_s
    speed = np.clip(np.minimum(within - 0.08, 0.92 - within) / 0.12, 0, 1)
    speed = speed * (1 - wear["belt_slip"] * 0.9 * _dips(scene, 3.0))
    angle = scene.angle(0.5 + 0.12 * condition["vel"] * speed)
    orders = 0.4 * np.array([0, 1, 0.3, 0.5, 0.2, 0.3, 0.1, 0.1, 0.15, 0.05, 0.05, 0.03, 0.08]) * scene.vary(2, 13)
    moving = grid.upsample(speed)
    scene.tones += scene.periodic(angle, orders) * moving.astype(np.float32)
    friction = 0.5 * (condition["vel"] / 700) ** 0.8 * (1 + 0.1 * condition["load"]) * scene.vary(1)
    scene.add_modulated_noise(friction * moving, 1500, 1.0)
    scene.add_modulated_noise(1.1 * wear["dry_rail"] * moving, 3800, 0.5)
    scene.add_impacts("body", starts_s, 3.0 * scene.vary(2, len(starts_s)))
    scratches_s = (starts_s[:, None] + stroke_s * np.array([0.37, 0.39, 0.62])).ravel()
    scene.add_impacts("rail", scratches_s, 7.0 * wear["rail_scratch"] * scene.vary(3, len(scratches_s)))
    for shake in range(1, 6):
        again_s = starts_s + 0.03 * shake * scene.vary(1, len(starts_s))
        scene.add_impacts("body", again_s, 6.0 * wear["looseness"] * 0.8**shake)


def gearbox(scene: Scene, condition: Condition, wear: Wear) -> None:
    """One gear pair: tones at the mesh frequency and its harmonics, with sidebands of both shafts."""
    speed_hz = condition["spd"] * (1 + 0.003 * scene.rng.normal())
    angle = scene.rotation(speed_hz)
    orders = 0.008 * scene.vary(5, 140)
    orders[0] = 0
    orders[1] += 0.1
    mesh = GEAR_TEETH * np.arange(1, 6)
    load = 0.8 + 0.1 * condition["load"]
    worn = 1 + wear["tooth_wear"] * np.array([0, 1, 1.5, 2, 2])
    orders[mesh] += load * 0.5 / np.arange(1, 6) * scene.vary(2, 5) * worn
    for side, share in ((1, 0.10), (2, 0.04)):
        for sign in (-1, 1):
            orders[mesh + sign * side] += share * 0.5 * scene.vary(3, 5) * (1 + 1.5 * wear["tooth_damage"])
    scene.tones += scene.periodic(angle, orders) * _modulation(angle * GEAR_RATIO, 0.08 + 0.1 * wear["tooth_damage"])
    scene.add_noise(1100, 1.0, 0.4 * scene.vary(1.5) * load)
    scene.add_impacts("body", _crossings(scene, angle), 3.0 * wear["tooth_damage"])
    _rattle(scene, angle, 2.0 * wear["looseness"])
    _spall(scene, angle, INNER_RACE, 2.5 * wear["bearing_wear"])


def bearing(scene: Scene, condition: Condition, wear: Wear) -> None:
    """Motor on a rolling bearing: weak tones of the shaft, rolling noise, and a click for each ball over a spall."""
    speed_hz = condition["vel"] * (1 + 0.004 * scene.rng.normal())
    angle = scene.rotation(speed_hz)
    orders = 0.02 * scene.vary(5, 40)
    orders[0] = 0
    orders[[1, 2, 4]] += 0.15 * scene.vary(2, 3)
    scene.tones += scene.periodic(angle, orders)
    rolling = 0.6 * (condition["vel"] / 14) ** 0.7 * (1 + 0.1 * condition["load"]) * scene.vary(1)
    scene.add_noise(1600, 1.1, rolling)
    clicks = scene.rng.poisson((3 + 110 * wear["dry_grease"]) * scene.grid.seconds)
    scene.add_impacts("bearing", scene.rng.uniform(0, scene.grid.seconds, clicks), 1.2 * scene.vary(4, clicks))
    _spall(scene, angle, OUTER_RACE, 2.0 * wear["outer_race"])
    _spall(scene, angle, INNER_RACE, 3.2 * wear["inner_race"], once_per=1.0)
    _spall(scene, angle, BALL_SPIN, 4.0 * wear["ball"], once_per=CAGE)


def _modulation(angle: np.ndarray, depth: float) -> np.ndarray:
    """Amplitude that varies once per revolution, between 1 - depth and 1 + depth."""
    return look_up((1 + depth * ONCE).astype(np.float32), angle)


def _crossings(scene: Scene, angle: np.ndarray) -> np.ndarray:
    """Times in seconds at which `angle` passes a whole number."""
    whole = np.arange(np.ceil(angle[0]), angle[-1])
    return np.asarray(np.interp(whole, angle, np.arange(len(angle)))) / scene.grid.rate_hz


def _spall(scene: Scene, angle: np.ndarray, per_revolution: float, size: float, *, once_per: float = 0.0) -> None:
    """Clicks of a damaged race or ball at slightly irregular times; loudest where the spall carries the load."""
    if size == 0:
        return
    times_s = _crossings(scene, angle * per_revolution)
    turns = np.interp(times_s * scene.grid.rate_hz, np.arange(len(angle)), angle)
    loaded = 0.5 + 0.5 * np.cos(2 * np.pi * once_per * turns)
    slip_s = 0.02 * float(np.mean(np.diff(times_s)))
    times_s = times_s + scene.rng.normal(0, slip_s, len(times_s))
    scene.add_impacts("bearing", times_s, size * loaded * scene.vary(1.5, len(times_s)))


def _rattle(scene: Scene, angle: np.ndarray, size: float) -> None:
    """Impacts of a loose part in most revolutions, each slightly late."""
    times_s = _crossings(scene, angle)
    late_s = scene.rng.exponential(0.004, len(times_s))
    knocks = scene.rng.uniform(size=len(times_s)) < 0.7
    scene.add_impacts("body", times_s + late_s, size * scene.vary(4, len(times_s)) * knocks)


def _gate(time_s: np.ndarray, opens_s: np.ndarray, closes_s: np.ndarray, rise_s: float) -> np.ndarray:
    """0 while closed, 1 while open; opening takes `rise_s`."""
    corners = np.stack([opens_s, opens_s + rise_s, closes_s, closes_s + 0.012], axis=1).ravel()
    return np.asarray(np.interp(time_s, corners, np.tile([0.0, 1.0, 1.0, 0.0], len(opens_s))))


def _sometimes(scene: Scene, count: int, delay_s: float) -> np.ndarray:
    """A random delay up to `delay_s` for about half of `count` events, 0 for the others."""
    return scene.rng.uniform(0, delay_s, count) * (scene.rng.uniform(size=count) < 0.5)


def _dips(scene: Scene, per_second: float) -> np.ndarray:
    """Short pulses from 0 to 1 at random times, on average `per_second`, at the control points."""
    time_s = scene.grid.control_s
    centres_s = scene.rng.uniform(0, scene.grid.seconds, scene.rng.poisson(per_second * scene.grid.seconds))
    return np.asarray(np.exp(-0.5 * ((time_s[:, None] - centres_s) / 0.05) ** 2).max(axis=1, initial=0.0))


MACHINES = {
    "bearing": Machine(
        bearing,
        ("outer_race", "inner_race", "ball", "dry_grease"),
        {"vel": ("14", "16", "18"), "load": ("1", "2"), "bg": ("A", "B")},
        {"vel": ("12", "20"), "load": ("2", "3"), "bg": ("C", "D")},
        Site(4.0, 0.2, 0.8),
    ),
    "fan": Machine(
        fan,
        ("imbalance", "blade_damage", "clogging", "rattle"),
        {"spd": ("24", "26", "28"), "load": ("1", "2"), "bg": ("A", "B")},
        {"spd": ("22", "30"), "load": ("2", "3"), "bg": ("C", "D")},
        Site(2.0, 1.5, 0.8),
    ),
    "gearbox": Machine(
        gearbox,
        ("tooth_damage", "tooth_wear", "looseness", "bearing_wear"),
        {"spd": ("18", "20", "22"), "load": ("1", "2"), "bg": ("A", "B")},
        {"spd": ("17", "24"), "load": ("2", "3"), "bg": ("C", "D")},
        Site(3.0, 0.2, 0.8),
    ),
    "pump": Machine(
        pump,
        ("cavitation", "leakage", "clogging", "bearing_wear"),
        {"spd": ("23", "24", "25"), "load": ("1", "2"), "bg": ("A", "B")},
        {"spd": ("22", "26"), "load": ("2", "3"), "bg": ("C", "D")},
        Site(3.0, 1.5, 0.8),
    ),
    "slider": Machine(
        slider,
        ("rail_scratch", "belt_slip", "dry_rail", "looseness"),
        {"vel": ("600", "700", "800"), "load": ("1", "2"), "bg": ("A", "B")},
        {"vel": ("550", "900"), "load": ("2", "3"), "bg": ("C", "D")},
        Site(14.0, 0.05, 1.8),
    ),
    "valve": Machine(
        valve,
        ("sticking", "leakage", "chatter", "weak_spring"),
        {"pat": ("1", "2"), "load": ("1", "2"), "bg": ("A", "B")},
        {"pat": ("0", "3"), "load": ("2", "3"), "bg": ("C", "D")},
        Site(10.0, 0.1, 0.4),
    ),
}
