"""Sounds of individuals: they differ among individuals, and a fault moves a machine towards others."""

from dataclasses import replace

import numpy as np
import pytest

import featstore.plant.individuals.sound as module
from featstore.plant.grid import Grid
from featstore.plant.individuals.build import TOLERANCES, Build
from featstore.plant.individuals.fleet import Fleet, plan
from featstore.plant.individuals.scene import IndividualScene, housing_gain, order_gains
from featstore.plant.individuals.sound import synthesise
from featstore.plant.machines import MACHINES
from featstore.plant.place import Place

FLEET = Fleet(clips=48, machines=("fan", "gearbox"), seconds=1.0, ids=3)
USUAL = Build(dict.fromkeys(TOLERANCES, 0.0), slip=0.03)
GRID = Grid(16_000, 16_000)


def deviating(**deviations: float) -> Build:
    return replace(USUAL, deviations=USUAL.deviations | deviations)


@pytest.mark.parametrize("machine", MACHINES)
def test_recordings_are_finite_and_within_range(machine):
    fleet = Fleet(clips=8, machines=(machine,), seconds=2.0, ids=1)
    for clip in plan(fleet):
        wave = synthesise(fleet, clip)
        assert wave.shape == (32_000,)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() < 0.99
        assert 0.002 < wave.std() < 0.2


def test_the_sound_of_a_clip_depends_on_its_identity_only():
    clip = next(plan(FLEET))
    wave = synthesise(FLEET, clip)
    np.testing.assert_array_equal(wave, synthesise(replace(FLEET, clips=480, ids=9), clip))
    assert np.abs(wave - synthesise(replace(FLEET, seed=1), clip)).max() > 0.001
    assert np.abs(wave - synthesise(FLEET, replace(clip, number=1))).max() > 0.001


def test_individuals_differ_where_everything_else_is_equal(monkeypatch):
    """The same random draws and the same place: what differs is the build."""
    clip = next(clip for clip in plan(FLEET) if clip.machine == "gearbox")
    waves = {}
    for name in ("usual", *TOLERANCES):
        monkeypatch.setattr(
            module, "individual", lambda *_, name=name: deviating(**({name: 1.0} if name in TOLERANCES else {}))
        )
        waves[name] = synthesise(FLEET, clip)
    for name in TOLERANCES:
        difference = (waves[name] - waves["usual"]).std() / waves["usual"].std()
        assert 0.02 < difference < 3, name


def test_orders_of_an_individual():
    np.testing.assert_allclose(order_gains(USUAL, 40), 1)
    steep_db = 20 * np.log10(order_gains(deviating(tilt=1.0), 40))
    np.testing.assert_allclose(steep_db[[0, 1, 8, 16, 32]], [0, 0, 0, TOLERANCES["tilt"], 2 * TOLERANCES["tilt"]])


def test_the_housing_of_an_individual_has_its_resonances_elsewhere():
    place = Place(0, "fan", "id_00", "")
    shifts = {name: 0.25 / TOLERANCES[name] for name in ("mounting", "housing")}  # a quarter of an octave
    usual, moved = (np.log(housing_gain(place, build, GRID)) for build in (USUAL, deviating(**shifts)))
    np.testing.assert_allclose([np.mean(np.exp(2 * gain)) for gain in (usual, moved)], 1)
    hertz = GRID.bands_hz
    inside = (hertz > 400) & (hertz < 6000)
    again = np.interp(hertz[inside] * 2**0.25, hertz, moved) - usual[inside]
    assert usual.std() > 0.2
    np.testing.assert_allclose(again, again.mean(), atol=0.05)


def test_the_hum_has_the_sidebands_of_the_slip():
    scene = IndividualScene(np.random.default_rng(0), Grid(64_000, 16_000), Place(0, "fan", "id_00", ""), USUAL)
    lines = np.abs(np.fft.rfft(scene.hum())) / 32_000  # four bins per hertz
    assert np.argmax(lines) == 4 * 100
    np.testing.assert_allclose(lines[[4 * 97, 4 * 103]] / lines[400], 0.15, rtol=0.01)
