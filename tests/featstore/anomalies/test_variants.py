"""Names of variants, the balanced design, and variants rendered during a build."""

import os
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from fakes import RATE, MomentsEmbedder, write_clip

from featstore.anomalies.table import ANOMALIES, render
from featstore.anomalies.variants import MIN_PER_PAIR, OUTSIDE, Renderer, Variant, VariantDesign, variants_of
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip
from featstore.build import BuildOptions, Request, build
from featstore.building import work
from featstore.cli import main
from featstore.clip import VARIANT_MARK, Clip
from featstore.errors import DataError, RejectedAudio
from featstore.layouts.recognise import summary
from featstore.store import FeatureStore


def plant(
    machines: tuple[str, ...] = ("fan", "pump"), sections: int = 2, source: int = 40, target: int = 3
) -> list[Clip]:
    return [
        Clip(
            f"{machine}/train/{section:02d}_{domain}_{i:03d}.wav", machine, f"{section:02d}", "train", domain, "normal"
        )
        for machine in machines
        for section in range(sections)
        for domain, count in (("source", source), ("target", target))
        for i in range(count)
    ]


@pytest.mark.parametrize(
    "variant",
    [
        Variant("impacts", -5, 3),
        Variant("leak", 0.0, 0),
        Variant("leak", -0.0, 0),
        Variant("squeal", 2.5, 1_000_017),
        Variant("leak", -5, 3, far_db=-10.0),
        Variant("mix", -5, 3, "pump/~-1dB#a.wav", -6.25),
        Variant("mix", 5, 7, "pump/a <b>#1@2dB\n.wav"),
    ],
    ids=str,
)
def test_text_and_variant_agree(variant):
    assert Variant.parse(str(variant)) == variant
    assert VARIANT_MARK not in str(variant)


def test_texts_are_stable():
    assert str(Variant("impacts", -5.0, 3)) == "impacts@-5dB#3"
    assert str(Variant("leak", -0.0, 0)) == "leak@0dB#0"
    assert str(Variant("mix", 0, 3, "pump/x.wav")) == "mix@0dB#3<pump/x.wav"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "impacts",
        "impacts@5#1",
        "impacts@-5dB#-1",
        "impact@-5dB#1",
        "impacts@-5dB#1<",
        "impacts@-5dB~#1",
        "impacts@-5dB~1e3dB#1",
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(DataError, match="expected NAME@SEVERITYdB#SEED"):
        Variant.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "leak@.dB#1",
        "leak@..dB#1",
        "leak@1.2.3dB#1",
        "leak@9999999999999999999dB#1",
        f"leak@{'9' * 5000}dB#1",
        f"leak@-5dB~-1{'0' * 400}dB#1",
        f"leak@-5dB#{'9' * 5000}",
        "leak@-201dB#1",
        "mix@0dB#1<a\0b",
    ],
)
def test_texts_out_of_range_are_refused_and_reject_their_clip(text):
    with pytest.raises(DataError, match=r"variant .*: expected") as refused:
        Variant.parse(text)
    assert len(str(refused.value)) < 700
    with pytest.raises(RejectedAudio, match=r"variant .*: expected"):
        Renderer(Path(), AudioPolicy())(wave_of(0), RATE, text)


def test_a_design_has_severities_that_can_be_read_again():
    assert Variant.parse(str(Variant("leak", 200.0, 10**39))) == Variant("leak", 200.0, 10**39)
    for severity in (201.0, float("nan"), float("-inf")):
        with pytest.raises(ValueError, match="expected severities of -200 to 200 dB"):
            VariantDesign(severities_db=(severity,))


def test_every_pair_comes_about_equally_often_in_every_section_and_domain():
    variants = variants_of(plant(), VariantDesign(per_clip=4))
    counts: dict[tuple[str, ...], Counter[tuple[str, float]]] = {}
    for clip in variants:
        variant = Variant.parse(clip.variant)
        counts.setdefault((clip.machine, clip.section, clip.domain), Counter())[variant.name, variant.severity_db] += 1
    pairs = VariantDesign().pairs([name for name in ANOMALIES if name not in OUTSIDE])
    assert len(counts) == 8
    for group, count in counts.items():
        assert set(count) == set(pairs), group
        assert min(count.values()) >= MIN_PER_PAIR
        assert max(count.values()) - min(count.values()) <= 1
    per_clip = Counter(clip.path for clip in variants)
    assert {per_clip[c.path] for c in plant() if c.domain == "source"} == {-(-MIN_PER_PAIR * len(pairs) // 40)}
    assert {per_clip[c.path] for c in plant() if c.domain == "target"} == {MIN_PER_PAIR * len(pairs) // 3}
    many = variants_of(plant(source=400), VariantDesign(per_clip=2))
    assert Counter(Counter(c.path for c in many if c.domain == "source").values()) == {2: 1600}


def test_variants_are_training_clips_labelled_anomaly_with_unique_keys():
    variants = variants_of(plant(), VariantDesign())
    assert {(clip.split, clip.label) for clip in variants} == {("train", "anomaly")}
    assert len({clip.key for clip in variants}) == len(variants)
    by_path = {clip.path: clip for clip in plant()}
    assert all(replace(clip, variant="", label="normal") == by_path[clip.path] for clip in variants)


def test_sources_and_donors_are_normal_training_recordings():
    clips = plant()
    others = [
        replace(clips[0], path="fan/test.wav", split="test", label="unknown"),
        replace(clips[0], path="fan/fault.wav", label="anomaly"),
        replace(clips[0], path="fan/quiet.wav", split="supplemental"),
        replace(clips[0], variant="leak@0dB#0", label="anomaly"),
    ]
    assert variants_of([*clips, *others]) == variants_of(clips)


def test_donors_come_from_other_sections_or_machines_in_the_same_domain():
    for clip in variants_of(plant()):
        variant = Variant.parse(clip.variant)
        kind = ANOMALIES[variant.name].donor
        assert bool(variant.donor) == bool(kind)
        if kind == "machine":
            assert not variant.donor.startswith(clip.machine)
        if kind == "section":
            assert variant.donor.startswith(f"{clip.machine}/train/0")
            assert f"/{clip.section}_" not in variant.donor
        assert not kind or clip.domain in variant.donor


def test_transforms_without_donors_are_left_out():
    alone = plant(machines=("fan",), sections=1)
    names = {Variant.parse(clip.variant).name for clip in variants_of(alone)}
    assert names == {name for name, anomaly in ANOMALIES.items() if anomaly.default and not anomaly.donor}
    reversed_only = variants_of(alone, VariantDesign(transforms=("reversed",)))
    assert {Variant.parse(clip.variant).name for clip in reversed_only} == {"reversed"}
    one_section = variants_of(plant(sections=1))
    assert {Variant.parse(clip.variant).name for clip in one_section} == {
        name for name, anomaly in ANOMALIES.items() if anomaly.default and name not in OUTSIDE
    }
    recorded = variants_of(
        alone, VariantDesign(transforms=("recorded",)), outside={"recorded": {"fan": ["/x/rattle.wav"], "pump": ["no"]}}
    )
    assert {Variant.parse(clip.variant).donor for clip in recorded} == {"/x/rattle.wav"}
    assert variants_of(alone, VariantDesign(transforms=("recorded",))) == []
    assert variants_of([]) == []


def test_variants_do_not_depend_on_the_order_of_clips_or_on_added_clips():
    clips = plant(source=200)
    planned = {clip.key for clip in variants_of(clips)}
    assert {clip.key for clip in variants_of(clips[::-1])} == planned
    grown = {clip.key for clip in variants_of([*clips, *(c for c in plant(source=260) if c not in clips)])}
    donorless = {key for key in planned if "<" not in key}
    assert donorless <= grown
    assert not {key.partition(VARIANT_MARK)[2] for key in planned} & {
        clip.variant for clip in variants_of(clips, VariantDesign(seed=1))
    }


def test_severities_that_a_transform_cannot_reach_are_left_out():
    pairs = VariantDesign().pairs(list(ANOMALIES))
    assert ("speed", 5.0) not in pairs
    assert ("speed", -5.0) in pairs
    assert ("leak", 5.0) in pairs
    assert VariantDesign(severities_db=(5.0,)).pairs(["clipping"]) == [("clipping", 5.0)], (
        "the lowest severity is always kept"
    )


def test_designs_are_parsed():
    assert VariantDesign.parse("6") == VariantDesign()
    assert VariantDesign.parse("4:impacts,leak@-5,0") == VariantDesign(
        per_clip=4, transforms=("impacts", "leak"), severities_db=(-5.0, 0.0)
    )
    assert VariantDesign.parse("1@3") == VariantDesign(per_clip=1, transforms=(), severities_db=(3.0,))
    for text in ("", "x", "0", "2:impact", "2@loud", "2:"):
        with pytest.raises(DataError, match="expected auto, none or N"):
            VariantDesign.parse(text)


def wave_of(seed: int, samples: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def test_the_renderer_follows_the_text(tmp_path):
    write_clip(tmp_path, "pump/a.wav", seed=1, samples=4000)
    donor, _ = sf.read(tmp_path / "pump/a.wav", dtype="float32")
    renderer = pickle.loads(pickle.dumps(Renderer(tmp_path, AudioPolicy())))
    variant = Variant("mix", 0, 3, "pump/a.wav")
    expected = render("mix", wave_of(0), RATE, 0, rng=variant.rng(), donor=donor)
    np.testing.assert_array_equal(renderer(wave_of(0), RATE, str(variant)), expected)
    with pytest.raises(RejectedAudio, match=r"donor pump/gone\.wav: cannot be read"):
        renderer(wave_of(0), RATE, str(replace(variant, donor="pump/gone.wav")))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RejectedAudio, match=r"donor pipe: not a regular file"):
        renderer(wave_of(0), RATE, "mix@0dB#3<pipe")
    with pytest.raises(RejectedAudio, match="10 samples; an anomaly needs at least 64"):
        renderer(wave_of(0)[:10], RATE, "leak@0dB#0")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_build_embeds_variants_beside_their_recordings(tmp_path, workers):
    clips = plant(machines=("fan",), source=2, target=1)
    for i, clip in enumerate(clips):
        write_clip(tmp_path / "data", clip.path, i, 2000)
    chosen = variants_of(clips, VariantDesign(per_clip=1, transforms=("leak", "statex"), severities_db=(0.0,)))
    options = BuildOptions(workers=workers, render=Renderer(tmp_path / "data", AudioPolicy()))
    requests = [Request("a", MomentsEmbedder), Request("b", MomentsEmbedder)]
    build(tmp_path / "data", [*clips, *chosen], tmp_path / "store", requests, options)
    store = FeatureStore.open(tmp_path / "store")
    row_of = dict(zip(store.clips("a").keys(), store.matrix("a"), strict=True))
    assert list(row_of) == [clip.key for clip in [*clips, *chosen]]
    for clip in chosen:
        wave, _ = sf.read(tmp_path / "data" / clip.path, dtype="float32")
        expected = MomentsEmbedder().embed(options.render(wave, RATE, clip.variant)[None])[0]
        np.testing.assert_allclose(row_of[clip.key], expected, rtol=1e-6)
        assert not np.allclose(row_of[clip.key], row_of[clip.path])
    np.testing.assert_array_equal(store.matrix("a"), store.matrix("b"))
    hashes = dict(zip(store.clips("a").keys(), store.facts("a")["content_hash"].tolist(), strict=True))
    assert all(hashes[clip.key] == hashes[clip.path] for clip in chosen)


def test_a_source_is_read_once_for_its_variants(tmp_path, monkeypatch):
    clips = plant(machines=("fan",), sections=1, source=2, target=0)
    for i, clip in enumerate(clips):
        write_clip(tmp_path, clip.path, i, 2000)
    chosen = variants_of(clips, VariantDesign(per_clip=3, transforms=("leak",), severities_db=(0.0,)))
    paths = []
    monkeypatch.setattr(
        work,
        "read_clip",
        lambda root, path, *args, **more: paths.append(path) or read_clip(root, path, *args, **more),
    )
    job = work.Job(
        tmp_path, AudioPolicy(), (MomentsEmbedder, MomentsEmbedder), 4, render=Renderer(tmp_path, AudioPolicy())
    )
    task = work.Task(tuple(clip.path for clip in chosen), (0, 1), tuple(clip.variant for clip in chosen))
    results = work.Worker(job).run(task)
    assert Counter(paths) == dict.fromkeys([clip.path for clip in clips], 1)
    alone = [work.Worker(job).run(single)[1][0].vector for single in task.split()]
    np.testing.assert_array_equal([result.vector for result in results[1]], alone)


def test_variants_stay_with_their_recording(tmp_path):
    clips = plant(machines=("fan",), sections=1, source=3, target=0)
    for i, clip in enumerate(clips):
        write_clip(tmp_path, clip.path, i, 2000)
    options = BuildOptions(workers=0, render=Renderer(tmp_path, AudioPolicy()), prune=True)
    chosen = variants_of(clips, VariantDesign(per_clip=1, transforms=("leak",), severities_db=(0.0,)))
    requests = [Request("a", MomentsEmbedder)]
    build(tmp_path, [*clips, *chosen], tmp_path / "store", requests, options)
    report = build(tmp_path, clips, tmp_path / "store", requests, options)
    assert report.plan.gone == {"a": ()}
    report = build(tmp_path, clips[1:], tmp_path / "store", requests, options)
    gone = {clips[0].key, *(clip.key for clip in chosen if clip.path == clips[0].path)}
    assert set(report.plan.gone["a"]) == gone
    assert report.rows["a"] == len(clips) + len(chosen) - len(gone)


def test_a_donor_that_cannot_be_read_rejects_the_variant_only(tmp_path):
    clip = plant()[0]
    write_clip(tmp_path, clip.path, 0, 2000)
    variant = replace(clip, label="anomaly", variant="mix@0dB#1<gone.wav")
    options = BuildOptions(workers=0, render=Renderer(tmp_path, AudioPolicy()))
    report = build(tmp_path, [clip, variant], tmp_path / "store", [Request("a", MomentsEmbedder)], options)
    assert report.rejected == ()
    assert [(rejection.key, rejection.reason) for rejection in report.unmade.others] == [
        (variant.key, "donor gone.wav: cannot be read: No such file or directory")
    ]
    assert report.rows == {"a": 1}


def test_summaries_count_variants_apart():
    clips = plant(machines=("fan",), sections=1)
    variants = variants_of(clips, VariantDesign(per_clip=2, transforms=("leak",), severities_db=(0.0,)))
    table, _, last = summary([*clips, *variants]).rpartition("\n")
    assert table == summary(clips)
    assert last == f"and {len(variants)} generated anomalies from 43 of these recordings"


def test_the_command_builds_them(tmp_path):
    data = tmp_path / "data"
    for clip in plant(machines=("fan",), sections=1, source=4, target=0):
        write_clip(data, clip.path.replace("train/", "train/normal/"), 0, 16000)
    sounds = tmp_path / "sounds"
    write_clip(sounds, "rattle.wav", 5, 9000)
    (sounds / "captions.csv").write_text("file,machine,caption\nrattle.wav,fan,the anomaly sound of a fan\n")
    base = ["build", str(data), str(tmp_path / "store"), "-e", "logmel", "--workers", "0"]
    result = CliRunner().invoke(main, [*base, "--anomalies", "1:leak,recorded@0", "--recorded-anomalies", str(sounds)])
    assert result.exit_code == 0, result.output
    names = Counter(clip.variant.partition("@")[0] for clip in FeatureStore.open(tmp_path / "store").clips("logmel"))
    assert names == {"": 4, "leak": MIN_PER_PAIR, "recorded": MIN_PER_PAIR}
    result = CliRunner().invoke(main, [*base, "--dry-run", "--anomalies", "6"])
    pairs = len(VariantDesign().pairs([name for name, anomaly in ANOMALIES.items() if not anomaly.donor]))
    variants = 4 * -(-MIN_PER_PAIR * pairs // 4)
    assert f"and {variants} generated anomalies from 4 of these recordings" in result.output
    result = CliRunner().invoke(main, [*base, "--anomalies", "2:rumble"])
    assert result.exit_code == 2
    assert "unknown anomaly: 'rumble'" in result.output
    assert CliRunner().invoke(main, [*base, "--recorded-anomalies", str(sounds)]).exit_code == 2


def test_a_donor_may_be_a_window(tmp_path, rng):
    samples = rng.uniform(-0.5, 0.5, 6000)
    sf.write(tmp_path / "long.wav", samples, RATE)
    sf.write(tmp_path / "part.wav", samples[2000:4000], RATE)
    wave = rng.normal(0, 0.1, 2000).astype(np.float32)
    render = Renderer(tmp_path, AudioPolicy())
    window = render(wave, RATE, f"mix@0dB#3<long.wav#t={2000 / RATE},{4000 / RATE}")
    np.testing.assert_array_equal(window, render(wave, RATE, "mix@0dB#3<part.wav"))
    assert not np.array_equal(window, render(wave, RATE, "mix@0dB#3<long.wav"))
