"""A fitted posterior of domains: right for new clips, the same for one and for many, and stored without loss."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from domain_clips import domain_clips

from ensemble.domains.clips import Clips
from ensemble.domains.fitted import FittedPosterior

Meta = dict[str, Any]


def two_machines(rng: np.random.Generator) -> tuple[Clips, list[np.ndarray], Clips, list[np.ndarray]]:
    """Training clips and their rows in two views, new clips and theirs; the second machine has clusters of targets."""
    parts = [domain_clips(rng, target=30, new=40, machine=machine) for machine in ("fan", "pump")]
    views = []
    for i, (_, X, _, is_target) in enumerate(parts):
        second = rng.normal(size=(len(X), 5))
        if i:
            X[:] = rng.normal(size=X.shape)
            X[:, 0] += np.where(is_target, np.where(np.arange(len(X)) // 2 % 2, 12.0, -12.0), 0)
        views.append((X.astype(np.float32), second))
    n = len(parts[0][0].machine)
    columns = ("machine", "section", "target", "bank", "fold")
    train = Clips(*(np.concatenate([getattr(part[0], name) for part in parts]) for name in columns))
    section = np.concatenate([part[2][n:] for part in parts])
    target = np.concatenate([part[3][n:] for part in parts])
    new = Clips(np.repeat(["fan", "pump"], 40), section, target, np.zeros(80, dtype=bool), np.zeros(80, dtype=int))
    first, later = (
        [np.concatenate([of[v][rows] for of in views]) for v in (0, 1)] for rows in (slice(n), slice(n, None))
    )
    return train, first, new, later


def test_new_clips_of_both_domains_are_named_by_either_classifier(rng: np.random.Generator) -> None:
    train, first, new, later = two_machines(rng)
    fitted = FittedPosterior.fit(iter(first), train)
    assert [machine.classifier for machine in fitted.machines.values()] == ["discriminant", "neighbours"]
    named = (fitted.probability(iter(later), new.machine, new.section) > 0.5) == new.target
    assert min(named[:40].mean(), named[40:].mean()) > 0.8
    assert fitted.reliability > 0.8
    assert ((fitted.held_out > 0.5) == train.target).mean() > 0.8


def test_one_clip_has_the_probability_that_it_has_among_others(rng: np.random.Generator) -> None:
    """Among the others is a copy of a training clip, which is at no distance, and a clip that is far away."""
    train, first, new, later = two_machines(rng)
    for X, trained in zip(later, first, strict=True):
        X[50], X[51] = trained[-1], 1e6
    fitted = FittedPosterior.fit(first, train)
    together = fitted.probability(later, new.machine, new.section)
    alone = [
        fitted.probability([X[i : i + 1] for X in later], new.machine[i : i + 1], new.section[i : i + 1])[0]
        for i in range(len(together))
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


def test_clips_of_unknown_machines_and_sections(rng: np.random.Generator) -> None:
    train, first, new, later = two_machines(rng)
    fitted = FittedPosterior.fit(first, train)
    machine = np.where(np.arange(80) == 3, "valve", new.machine)
    probability = fitted.probability(later, machine, np.where(np.arange(80) == 5, "07", new.section))
    known = fitted.probability(later, new.machine, new.section)
    assert np.isnan(probability[3])
    same = ~np.isin(np.arange(80), [3, 5])
    np.testing.assert_allclose(probability[same], known[same], rtol=1e-9)
    other = fitted.probability([X * 3 for X in later], machine, np.full(80, "07"))
    assert other[5] == pytest.approx(probability[5]), "a section without bank clips is standardised to 0"


def test_a_machine_with_too_few_clips_of_a_domain_has_no_posterior(rng: np.random.Generator) -> None:
    train, first, new, later = two_machines(rng)
    bank = (train.machine == "fan") | ~train.target
    fitted = FittedPosterior.fit(first, replace(train, bank=bank))
    assert list(fitted.machines) == ["fan"]
    probability = fitted.probability(later, new.machine, new.section)
    assert np.isnan(probability).tolist() == (new.machine == "pump").tolist()
    assert np.isnan(fitted.held_out).tolist() == (train.machine == "pump").tolist()
    nothing = FittedPosterior.fit(first, replace(train, bank=~train.target))
    assert np.isnan(nothing.probability(later, new.machine, new.section)).all()
    assert np.isnan(nothing.reliability)


def test_sounds_without_domains_have_even_odds(rng: np.random.Generator) -> None:
    """Calibration keeps a discriminant that fits noise from being certain."""
    clips, X, section, is_target = domain_clips(rng)
    noise, n, machine = rng.normal(size=(len(X), 30)), len(clips.machine), np.full(len(X), "fan")
    fitted = FittedPosterior.fit([noise[:n]], clips)
    probability = fitted.probability([noise], machine, section)
    assert np.abs(probability - 0.5).max() < 0.45
    assert np.abs(probability - 0.5).mean() < 0.2
    assert fitted.reliability < 0.75
    together = FittedPosterior.fit([noise[:n], X[:n]], clips).probability([noise, X], machine, section)
    assert ((together > 0.5) == is_target)[n:].mean() > 0.8, "the informative view decides"


def test_a_view_given_twice_counts_as_much_as_once(rng: np.random.Generator) -> None:
    clips, X, section, _ = domain_clips(rng)
    n, machine = len(clips.machine), np.full(len(X), "fan")
    once, twice = (FittedPosterior.fit([X[:n]] * k, clips).probability([X] * k, machine, section) for k in (1, 2))
    np.testing.assert_allclose(twice, once, rtol=1e-9)


def test_other_views_are_refused(rng: np.random.Generator) -> None:
    train, first, new, later = two_machines(rng)
    fitted = FittedPosterior.fit(first, train)
    for views, message in (
        (later[:1], "learned from 2 views, got 1"),
        ([*later, later[0]], "learned from 2 views, got more"),
        (later[::-1], r"view 0: expected rows of shape \(80, 12\)"),
        ([X[1:] for X in later], r"view 0: expected rows of shape \(80, 12\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.probability(views, new.machine, new.section)


def test_arrays_and_facts_give_the_same_posterior_bit_for_bit(rng: np.random.Generator) -> None:
    train, first, new, later = two_machines(rng)
    fitted = FittedPosterior.fit(first, train)
    arrays, meta = fitted.arrays()
    assert {array.dtype.kind for array in arrays.values()} <= set("fib")
    assert arrays["1.0.rows"].dtype == np.float32, "as the rows of the view"
    again = FittedPosterior.from_arrays(
        {name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape) for name, array in arrays.items()},
        json.loads(json.dumps(meta, allow_nan=False)),
    )
    np.testing.assert_array_equal(again.held_out, fitted.held_out)
    assert again.reliability == fitted.reliability
    expected = fitted.probability(later, new.machine, new.section)
    np.testing.assert_array_equal(again.probability(later, new.machine, new.section), expected)
    stored, facts = again.arrays()
    assert facts == meta
    assert {name: array.tobytes() for name, array in stored.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_a_posterior_of_no_machine_is_stored_too(rng: np.random.Generator) -> None:
    train, first, new, later = two_machines(rng)
    arrays, meta = FittedPosterior.fit(first, replace(train, bank=~train.target)).arrays()
    again = FittedPosterior.from_arrays(arrays, json.loads(json.dumps(meta, allow_nan=False)))
    assert np.isnan(again.held_out).all()
    assert np.isnan(again.reliability)
    assert np.isnan(again.probability(later, new.machine, new.section)).all()


def without_views(arrays: dict[str, np.ndarray], meta: Meta) -> None:
    """A file that is consistent otherwise."""
    for name in [name for name in arrays if name.count(".") == 2]:
        del arrays[name]
    arrays.update({f"{i}.calibration": np.ones((1, 4)) for i in range(2)})
    meta.update(dimensions=[])


HOSTILE: dict[str, Callable[[dict[str, np.ndarray], Meta], object]] = {
    "an array left over": lambda arrays, meta: arrays.update({"2.calibration": np.zeros((3, 4))}),
    "an array missing": lambda arrays, meta: arrays.pop("1.1.target"),
    "an object array": lambda arrays, meta: arrays.update({"held_out": np.array([None])}),
    "an impossible probability": lambda arrays, meta: arrays.update({"held_out": np.array([1.5])}),
    "an infinite probability": lambda arrays, meta: arrays.update({"held_out": np.array([np.inf])}),
    "a calibration without variance": lambda arrays, meta: arrays.update({"0.calibration": np.zeros((3, 4))}),
    "a calibration too many": lambda arrays, meta: arrays.update({"0.calibration": np.ones((4, 4))}),
    "a calibration that is not finite": lambda arrays, meta: arrays.update({"0.calibration": np.full((3, 4), np.nan)}),
    "no facts": lambda arrays, meta: meta.clear(),
    "many views": lambda arrays, meta: meta.update(dimensions=[12] * 1000),
    "no views": without_views,
    "a view of no dimension": lambda arrays, meta: meta.update(dimensions=[12, 0]),
    "a smaller view": lambda arrays, meta: meta.update(dimensions=[11, 5]),
    "dimensions as truth": lambda arrays, meta: meta.update(dimensions=[True, 5]),
    "machines by name": lambda arrays, meta: meta.update(machines={"fan": {}}),
    "a machine twice": lambda arrays, meta: meta["machines"][1].update(machine="fan"),
    "a machine without a name": lambda arrays, meta: meta["machines"][1].update(machine=3),
    "an unknown classifier": lambda arrays, meta: meta["machines"][0].update(classifier="__init__"),
    "another classifier": lambda arrays, meta: meta["machines"][0].update(classifier="neighbours"),
    "a section too many": lambda arrays, meta: meta["machines"][0]["sections"].append("02"),
    "a reliability beyond 1": lambda arrays, meta: meta.update(reliability=2.0),
    "a reliability that is no number": lambda arrays, meta: meta.update(reliability=float("nan")),
    "no reliability": lambda arrays, meta: meta.update(reliability=None),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(
    change: Callable[[dict[str, np.ndarray], Meta], object], rng: np.random.Generator
) -> None:
    train, first, _, _ = two_machines(rng)
    arrays, meta = FittedPosterior.fit(first, train).arrays()
    meta = json.loads(json.dumps(meta))
    change(arrays, meta)
    with pytest.raises(ValueError, match=r"expected|no model of domains|finite"):
        FittedPosterior.from_arrays(arrays, meta)


@pytest.mark.parametrize("meta", [None, [], "x", 3])
def test_facts_of_another_type_are_refused(meta: object) -> None:
    with pytest.raises(ValueError, match="expected an object"):
        FittedPosterior.from_arrays({}, meta)
