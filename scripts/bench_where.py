#!/usr/bin/env python3
"""Whether the region that a sentence names is where a fault is, measured on generated anomalies of training clips.

    python scripts/bench_where.py DATA STORE [--per-kind 12] [--fpr 0.1] [--truth level] [--seed 0]

STORE holds the log-mel statistics of DATA with generated anomalies (`featstore build DATA STORE`).

Cross-fit: the training clips of a section are split into five parts. A variant is judged by statistics and detectors
of the four parts without its source. Detectors: Mahalanobis on the views mean, std and max, fused by Fisher's method
over p-values among the held-out normal clips. Above threshold: clips whose fused score exceeds the (1 - FPR) quantile
of the held-out normal clips. Of these, at most PER_KIND are drawn per section and kind.

Truth: variant and source are compared as mel power, averaged over three frames. "level": the squared change of the
level in dB, where it is at least 1 dB; the sentence states a level against normal, and a change below 1 dB is hardly
audible. "energy": the change of power, times its share in the larger of both powers; this favours the loud bands, also
where their level hardly changes. The true interval in time is the shortest that holds 80 % of these values summed over
bands, the true band the shortest that holds 80 % of the sum over time. Transforms that move sounds in time (severity
measured by the spectrum) are compared as averages over the whole clip, which is their true interval.

Overlap: on both axes at least half of the shorter of the two intervals lies in the other. Inside: at least half of the
named interval lies in the true one, on both axes; a region too large fails. Chance: the mean share of overlap, or
inside, of a region of the same size at a uniformly random place.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors import create
from ensemble.deviation.locate import Locator
from ensemble.deviation.scan import boxes
from featstore.anomalies.table import find
from featstore.anomalies.variants import Renderer, Variant
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.console import table
from featstore.store import FeatureStore
from featstore.table import ClipTable

PARTS = 5
SHARE = 0.8
LEAST_DB = 1.0
SMOOTHED_FRAMES = 3
DETECTOR = "mahalanobis:covariance=ledoit_wolf,standardize=true"
VIEWS = ("mean", "std", "max")
COLUMNS = ["anomaly", "clips", "overlap", "chance", "inside", "chance", "IoU time", "IoU band"]

Interval = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """A variant above the threshold: which transform, its row, and the part of its source."""

    kind: str
    row: int
    part: int


def cases(store: FeatureStore, clips: ClipTable, fpr: float, per_kind: int, rng: np.random.Generator) -> Iterator[Case]:
    """The variants of one section above the threshold, at most `per_kind` of each kind; `clips` are all rows."""
    X, views = store.matrix("logmel"), store.info("logmel").views
    part_of = parts(clips)
    normal, variant = (np.array([bool(text) == generated for text in clips.column("variant")]) for generated in (0, 1))
    for machine, section in clips[normal & clips.where(split="train")].sections():
        own = clips.where(machine=machine, section=section, split="train")
        n, v = np.flatnonzero(own & normal & ~clips.where(label="anomaly")), np.flatnonzero(own & variant)
        of_normal, of_variant = np.zeros((len(VIEWS), len(n))), np.zeros((len(VIEWS), len(v)))
        for part in range(PARTS):
            for i, view in enumerate(VIEWS):
                column = views.index(view)
                detector = create(DETECTOR).learn(X[n[part_of[n] != part], column])
                for rows, scores in ((n, of_normal), (v, of_variant)):
                    held_out = part_of[rows] == part
                    scores[i, held_out] = detector.anomaly_score(X[rows[held_out], column])
        fused = [fisher(scores, of_normal, own=scores is of_normal) for scores in (of_normal, of_variant)]
        above = v[fused[1] > np.quantile(fused[0], 1 - fpr, method="higher")]
        by_kind: dict[str, list[int]] = defaultdict(list)
        for row in rng.permutation(above).tolist():
            by_kind[Variant.parse(clips[row].variant).name].append(row)
        for kind, rows in sorted(by_kind.items()):
            yield from (Case(kind, row, int(part_of[row])) for row in rows[:per_kind])


def parts(clips: ClipTable) -> np.ndarray:
    """The part (n,) of every row: recordings in the order of their paths are dealt out; a variant has its source's."""
    paths = clips.column("path")
    number = {path: i % PARTS for i, path in enumerate(sorted(set(paths.tolist())))}
    return np.array([number[path] for path in paths.tolist()])


def fisher(scores: np.ndarray, reference: np.ndarray, *, own: bool) -> np.ndarray:
    """Sum over views of -log p, with p the share of reference scores at least as high; `own` scores are among them."""
    p = [
        (len(row) - np.searchsorted(np.sort(row), values) + (not own)) / (len(row) + (not own))
        for values, row in zip(scores, reference, strict=True)
    ]
    return -np.log(p).sum(axis=0)


def true_region(before: np.ndarray, after: np.ndarray, kind: str, truth: str) -> tuple[Interval, Interval]:
    """Frames and bands where a variant differs from its source; both are mel power (frames, mels)."""
    if find(kind).measure == "spectrum":
        a, b = before.mean(axis=0, keepdims=True), after.mean(axis=0, keepdims=True)
    else:
        a, b = smoothed(before), smoothed(after)
    changed_db = np.abs(10 * np.log10(b / a))
    if truth == "level":
        values = np.square(np.where(changed_db >= LEAST_DB, changed_db, 0))
        values = values if values.any() else np.square(changed_db)
    else:
        values = np.square(b - a) / np.maximum(a, b)
    frames = shortest(values.sum(axis=1)) if len(values) > 1 else (0, len(before))
    return frames, shortest(values.sum(axis=0))


def smoothed(power: np.ndarray) -> np.ndarray:
    """Means over neighbouring frames, with the first and last repeated."""
    half = SMOOTHED_FRAMES // 2
    padded = np.pad(power, ((half, half), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED_FRAMES, axis=0).mean(axis=-1)


def shortest(values: np.ndarray) -> Interval:
    """The shortest interval with SHARE of the sum."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.searchsorted(sums, sums[:-1] + SHARE * sums[-1] * (1 - 1e-9))
    start = int(np.where(ends < len(sums), ends - np.arange(len(ends)), len(sums)).argmin())
    return start, min(int(ends[start]), len(values))


def common(a: Interval, b: Interval) -> int:
    """Length of the intersection."""
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def overlaps(named: Interval, true: Interval) -> bool:
    """Whether half of the shorter interval lies in the other."""
    return common(named, true) >= min(named[1] - named[0], true[1] - true[0]) / 2


def inside(named: Interval, true: Interval) -> bool:
    """Whether half of the named interval lies in the true one."""
    return common(named, true) >= (named[1] - named[0]) / 2


def iou(a: Interval, b: Interval) -> float:
    """Intersection over union."""
    return common(a, b) / (a[1] - a[0] + b[1] - b[0] - common(a, b))


def chance(named: Interval, true: Interval, n: int, agrees: Callable[[Interval, Interval], bool]) -> float:
    """Share of the places in range(n) where an interval of this length agrees with the true one."""
    length = named[1] - named[0]
    return float(np.mean([agrees((start, start + length), true) for start in range(n - length + 1)]))


def judged(named: tuple[Interval, Interval], true: tuple[Interval, Interval], size: tuple[int, int]) -> list[float]:
    """The values of one line of the table for one clip."""
    pairs = list(zip(named, true, strict=True))
    values = []
    for agrees in (overlaps, inside):
        values.append(float(all(agrees(a, b) for a, b in pairs)))
        values.append(float(np.prod([chance(a, b, n, agrees) for (a, b), n in zip(pairs, size, strict=True)])))
    return [*values, *(iou(a, b) for a, b in pairs)]


def measured(data: Path, store: FeatureStore, args: argparse.Namespace) -> dict[str, list[list[float]]]:
    """The values of all clips above the threshold, by kind; a clip without a named region agrees with nothing."""
    clips, info = store.clips("logmel"), store.info("logmel")
    part_of, policy = parts(clips), AudioPolicy(channel=info.channel, length=info.length)
    normal = clips.where(split="train", variant="") & ~clips.where(label="anomaly")
    locators = [Locator.of(store, clips[normal & (part_of != part)]) for part in range(PARTS)]
    render = Renderer(data, policy)
    lines: dict[str, list[list[float]]] = defaultdict(list)
    for case in cases(store, clips, args.fpr, args.per_kind, np.random.default_rng(args.seed)):
        clip, locator = clips[case.row], locators[case.part]
        wave = read_recording(data / clip.path, info.sample_rate_hz, policy).wave
        variant = render(wave, info.sample_rate_hz, clip.variant)
        S = [locator.log_mel(sound) for sound in (wave, variant)]
        true = true_region(*(10 ** (np.float64(levels) / 10) for levels in S), case.kind, args.truth)
        named = boxes(S[1], locator.normal[clip.machine, clip.section], 1)
        region = (named[0].frames, named[0].bands) if named else None
        lines[case.kind].append(judged(region, true, S[1].shape) if region else [0.0] * 6)
    return lines


def line(name: str, values: list[list[float]]) -> list[str]:
    """One line of the table: shares in percent, medians of IoU."""
    columns = np.array(values)
    return [
        name,
        str(len(columns)),
        *(f"{100 * share:.1f}" for share in columns[:, :4].mean(axis=0)),
        *(f"{median:.2f}" for median in np.median(columns[:, 4:], axis=0)),
    ]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--per-kind", type=int, default=12)
    parser.add_argument("--fpr", type=float, default=0.1)
    parser.add_argument("--truth", choices=["level", "energy"], default="level")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lines = measured(args.data, FeatureStore.open(args.store), args)
    rows = [line(kind, values) for kind, values in sorted(lines.items())]
    rows.append(line("all", [value for values in lines.values() for value in values]))
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
