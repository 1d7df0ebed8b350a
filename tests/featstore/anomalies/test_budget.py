"""`--anomalies auto`: the number of anomalies, their even spread, and what new recordings change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import pytest

from featstore.anomalies.budget import MOST_PER_PAIR, Budget, auto_variants
from featstore.anomalies.table import ANOMALIES
from featstore.anomalies.variants import OUTSIDE, Variant, VariantDesign, variants_of
from featstore.clip import Clip

NO_CAP = 10_000
DEFAULT = [name for name, anomaly in ANOMALIES.items() if anomaly.default and name not in OUTSIDE]
PAIRS = len(VariantDesign().pairs(DEFAULT))


def plant(machines: int = 2, sections: int = 2, source: int = 30, target: int = 3) -> list[Clip]:
    return [
        Clip(
            f"m{machine}/{section:02d}_{domain}_{i:03d}.wav", f"m{machine}", f"{section:02d}", "train", domain, "normal"
        )
        for machine in range(machines)
        for section in range(sections)
        for domain, count in (("source", source), ("target", target))
        for i in range(count)
    ]


def of_group(variants: Sequence[Clip]) -> dict[tuple[str, str, str], Counter[tuple[str, float]]]:
    counts: dict[tuple[str, str, str], Counter[tuple[str, float]]] = {}
    for clip in variants:
        variant = Variant.parse(clip.variant)
        counts.setdefault((clip.machine, clip.section, clip.domain), Counter())[variant.name, variant.severity_db] += 1
    return counts


def keys(variants: Sequence[Clip]) -> set[str]:
    assert len({clip.key for clip in variants}) == len(variants)
    return {clip.key for clip in variants}


def test_the_budget_grows_with_recordings_and_falls_with_their_length() -> None:
    budget = Budget(floor=100, per_recording=0.5)
    assert budget.total(0) == 100
    assert budget.total(80) == 140
    assert budget.total(80, clip_s=20) == 90
    assert budget.total(80, clip_s=1) == 140


@pytest.mark.parametrize("total", [1, 100, 333, 700, 2000])
def test_a_budget_is_used_up_and_every_domain_gets_its_share(total: int) -> None:
    variants = auto_variants(plant(), Budget(floor=total, per_recording=0, most_per_pair=NO_CAP))
    assert len(keys(variants)) == total
    sizes = [sum(count.values()) for count in of_group(variants).values()]
    assert max(sizes) - min([*sizes, *[0] * (8 - len(sizes))]) <= 1


def test_all_recordings_count_and_only_normal_training_clips_are_sources() -> None:
    clips = plant()
    test = [replace(clips[0], path=f"m0/test{i}.wav", split="test", label="unknown") for i in range(60)]
    faults = [replace(clips[0], path="m0/fault.wav", label="anomaly")]
    budget = Budget(floor=10, per_recording=1)
    variants = auto_variants([*clips, *test, *faults], budget)
    assert len(variants) == 10 + len(clips) + 61
    assert {clip.path for clip in variants} <= {clip.path for clip in clips}
    assert {(clip.split, clip.label) for clip in variants} == {("train", "anomaly")}


def test_strong_severities_come_first_and_every_pair_at_most_once_more_than_another() -> None:
    for share in (20, 60, 200):
        variants = auto_variants(plant(), Budget(floor=8 * share, per_recording=0, most_per_pair=NO_CAP))
        for count in of_group(variants).values():
            times, extra = divmod(share, PAIRS)
            assert set(count.values()) <= {times, times + 1}
            more = [severity for (_, severity), n in count.items() if n > times]
            assert len(more) == extra
            less = [pair[1] for pair in VariantDesign().pairs(DEFAULT) if count[pair] == times]
            assert max(less) <= min(more)


def test_a_share_that_ends_within_a_severity_takes_other_transforms_in_every_section() -> None:
    clips = plant(machines=1, sections=4, source=9, target=9)
    variants = auto_variants(clips, Budget(floor=8 * 23, per_recording=0))  # 15 above -5 dB, 8 of 16 at -5 dB
    of_pair = Counter(Variant.parse(clip.variant).name for clip in variants if "@-5dB" in clip.variant)
    assert set(of_pair) == set(DEFAULT)
    assert set(of_pair.values()) == {4}


def test_few_recordings_get_as_many_as_many_do_up_to_the_cap() -> None:
    variants = auto_variants(plant(source=200, target=2), Budget(floor=10**6))
    assert {frozenset(count.values()) for count in of_group(variants).values()} == {frozenset({MOST_PER_PAIR})}
    sources = Counter(clip.path for clip in variants if clip.domain == "source" and clip.machine == "m0")
    assert len(sources) > 390, "all of the 400 recordings are used"


@pytest.mark.parametrize(
    ("clips", "missing"),
    [
        (plant(machines=1, sections=1, source=5, target=0), {"mix", "statex"}),
        (plant(machines=1, sections=2, source=5, target=0), set()),
        (plant(machines=2, sections=1, source=5, target=0), set()),
    ],
    ids=["one section", "one machine", "two machines"],
)
def test_transforms_without_donors_leave_their_share_to_the_others(clips: list[Clip], missing: set[str]) -> None:
    variants = auto_variants(clips, Budget(floor=200, per_recording=0))
    assert len(variants) == 200
    assert {Variant.parse(clip.variant).name for clip in variants} == set(DEFAULT) - missing


def test_recorded_anomalies_join_where_there_are_some() -> None:
    variants = auto_variants(plant(), Budget(floor=800), outside={"recorded": {"m0": ["/x/rattle.wav"]}})
    machines = {clip.machine for clip in variants if clip.variant.startswith("recorded@")}
    assert machines == {"m0"}


def test_without_training_clips_nothing_is_generated() -> None:
    assert auto_variants([]) == []
    assert auto_variants([replace(clip, split="test", label="unknown") for clip in plant()]) == []


def test_the_same_data_give_the_same_variants_also_after_an_interruption() -> None:
    clips = plant()
    variants = auto_variants(clips)
    assert auto_variants(clips[::-1]) == variants
    for stored in (variants[:100], variants[::3], variants):
        assert auto_variants(clips, stored=stored) == variants


def test_new_recordings_make_no_variant_obsolete_and_the_number_stays_within_the_budget() -> None:
    budget = Budget(floor=500, per_recording=0.5)
    clips = plant()
    variants = auto_variants(clips, budget)
    for more in (plant(source=40), plant(source=60, target=9)):
        clips = list({clip.path: clip for clip in [*clips, *more]}.values())
        grown = auto_variants(clips, budget, stored=variants)
        assert keys(variants) <= keys(grown)
        assert len(grown) == budget.total(len(clips))
        variants = grown


def test_a_new_section_gets_its_share_and_the_others_keep_theirs() -> None:
    budget = Budget(floor=500, per_recording=0)
    variants = auto_variants(plant(), budget)
    grown = auto_variants(plant(sections=3), budget, stored=variants)
    assert keys(variants) <= keys(grown)
    new = [clip for clip in grown if clip.key not in keys(variants)]
    assert {clip.section for clip in new} == {"02"}
    assert len(new) == pytest.approx(4 * 500 / 12, abs=4)


def test_stored_variants_of_another_design_count() -> None:
    stored = variants_of(plant(), VariantDesign(per_clip=6))
    assert keys(auto_variants(plant(), stored=stored)) == keys(stored)
    few = variants_of(plant(), VariantDesign(per_clip=1, transforms=("leak",), severities_db=(0.0,)))
    grown = auto_variants(plant(), Budget(floor=8 * PAIRS, per_recording=0), stored=few)
    assert keys(few) <= keys(grown)
    counts = of_group(grown)
    assert all(count["leak", 0.0] == of_group(few)[group]["leak", 0.0] for group, count in counts.items())
    others = chain.from_iterable(count.items() for count in counts.values())
    assert {n for pair, n in others if pair != ("leak", 0.0)} == {1}


def test_stored_variants_follow_their_recording() -> None:
    clips = plant()
    variants = auto_variants(clips)
    moved = [replace(clip, attributes={"speed": "3"}) for clip in clips]
    assert all(clip.attributes == {"speed": "3"} for clip in auto_variants(moved, stored=variants))
    donor = next(variant.donor for clip in variants if (variant := Variant.parse(clip.variant)).donor)
    without = auto_variants([clip for clip in clips if clip.path != donor], stored=variants)
    assert not [clip for clip in without if donor in clip.key], "neither as source nor as donor"
    test = [replace(clips[0], split="test"), *clips[1:]]
    assert clips[0].path not in {clip.path for clip in auto_variants(test, stored=variants)}
    unknown = replace(variants[0], variant="hum@0dB#1")  # of a package that is not installed
    assert auto_variants(clips, stored=[unknown]) == variants


def test_groups_hear_different_faults() -> None:
    seeds = [
        Variant.parse(clip.variant).seed for clip in auto_variants(plant()) if clip.variant.startswith("impacts@0dB")
    ]
    assert len(seeds) >= 8
    assert len(set(seeds)) == len(seeds)


def test_a_section_with_one_training_clip_gets_no_share_and_keeps_what_it_has() -> None:
    lone = Clip("m9/00_source_000.wav", "m9", "00", "train", "source", "normal")
    held = replace(lone, label="anomaly", variant="leak@0dB#1")
    budget = Budget(floor=100, per_recording=0)
    variants = auto_variants([*plant(), lone], budget, stored=[held])
    assert [clip for clip in variants if clip.machine == "m9"] == [held]
    assert len(variants) == 101
    assert len(auto_variants([lone], budget)) > 0, "where there is no other section"
    pair = [lone, replace(lone, path="m9/00_target_000.wav", domain="target")]
    assert {clip.domain for clip in auto_variants([*plant(), *pair], budget) if clip.machine == "m9"} == {
        "source",
        "target",
    }
