"""An embedder that cannot be made, or cannot embed, ends the build with one line that names the cause."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import failing_embedders as failing
import pytest
from fakes import MomentsEmbedder, make_clips

from featstore.build import BuildOptions, Request, build
from featstore.building.make import failure, made
from featstore.errors import AsdError, DataError, ResourceError
from featstore.store import FeatureStore

Make = Callable[[], MomentsEmbedder]


def built(folder: Path, make: Make, workers: int) -> None:
    clips = make_clips(folder / "data", 6)
    build(folder / "data", clips, folder / "store", [Request("moments", make)], BuildOptions(workers=workers))


def assert_nothing_was_written(folder: Path) -> None:
    """The next build with a working embedder embeds every clip."""
    clips = make_clips(folder / "data", 6)
    request = Request("moments", MomentsEmbedder)
    report = build(folder / "data", clips, folder / "store", [request], BuildOptions(workers=0))
    assert (report.rows, report.standing, report.plan.new) == ({"moments": 6}, 0, {"moments": 6})
    assert not FeatureStore.open(folder / "store").rejected("moments")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (failing.raising, DataError, r"embedder moments cannot be made: KeyError: 'conv1\.weight' \(.*, line \d+\)$"),
        (failing.leaving, DataError, r"embedder moments cannot be made: SystemExit: 0 \("),
        (failing.Listing, DataError, r"embedder moments returned a list, expected float32 of shape \(\d, 3\)$"),
        (failing.Counting, DataError, r"embedder moments returned an array of int64, expected float32"),
        (failing.Doubled, DataError, r"embedder moments returned shape \(\d, 3\), expected \(\d, 3\)$"),
        (failing.Hungry, ResourceError, r"fails on float32 waves \(\d, \d+\): out of memory; give fewer --workers"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_embedder_that_fails_ends_the_build_with_its_cause(
    tmp_path: Path, make: Make, kind: type[AsdError], text: str, workers: int
) -> None:
    with pytest.raises(kind, match=text):
        built(tmp_path, make, workers)
    assert_nothing_was_written(tmp_path)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (failing.raising_in_worker, DataError, r"embedder moments cannot be made: TwoArguments: one layer and no w"),
        (failing.hungry_in_worker, ResourceError, r"embedder moments cannot be made: out of memory; give fewer --w"),
        (failing.dying_in_worker, ResourceError, r"worker processes end while they make their embedders"),
    ],
    ids=["raises", "memory", "crashes"],
)
def test_an_embedder_that_cannot_be_made_in_worker_processes_ends_the_build(
    tmp_path: Path, make: Make, kind: type[AsdError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        built(tmp_path, make, workers=2)
    assert_nothing_was_written(tmp_path)


def test_errors_that_are_told_already_stay_as_they_are() -> None:
    told = DataError("weights.pt: damaged")
    assert failure("anything", told) is told

    def make() -> None:
        raise told

    with pytest.raises(DataError) as caught:
        made("beats", make)
    assert caught.value is told


def test_values_that_an_embedder_refuses_are_told_without_a_place_in_its_code() -> None:
    def make() -> None:
        raise ValueError("mels must be positive, got 0")

    with pytest.raises(DataError, match=r"^embedder logmel: mels must be positive, got 0$"):
        made("logmel", make)


def test_an_interruption_is_no_failure_of_an_embedder() -> None:
    def make() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made("logmel", make)


def test_a_property_that_fails_is_told_too(tmp_path: Path) -> None:
    class Faulty(MomentsEmbedder):
        @property
        def fingerprint(self) -> str:
            raise RuntimeError("no weights yet")

    clips = make_clips(tmp_path / "data", 1)
    request = replace(Request("moments", MomentsEmbedder), make=Faulty)
    with pytest.raises(DataError, match=r"embedder moments cannot be made: RuntimeError: no weights yet"):
        build(tmp_path / "data", clips, tmp_path / "store", [request], BuildOptions(workers=0))


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("shape", "abc", r"has shape 'abc' and views \(\), expected a tuple of each$"),
        ("shape", 3, r"has shape 3 and views"),
        ("shape", (1.5,), r"has shape \(1\.5,\), expected positive integers"),
        ("views", 2, r"and views 2, expected a tuple"),
        ("sample_rate_hz", "16k", r"has sample rate '16k' and config"),
        ("sample_rate_hz", -5, r"has sample rate -5 and config"),
        ("min_samples", "x", r"embedder moments: min_samples is 'x', expected an integer of at least 0$"),
    ],
)
def test_attributes_of_wrong_types_are_told_before_anything_is_read(
    tmp_path: Path, attribute: str, value: object, text: str
) -> None:
    def make() -> MomentsEmbedder:
        embedder = MomentsEmbedder()
        object.__setattr__(embedder, attribute, value)
        return embedder

    with pytest.raises(DataError, match=text):
        built(tmp_path, make, workers=0)
