#!/usr/bin/env python3
"""Official score of the near microphone, the far one, and the near one minus what the far one explains.

    python scripts/bench_channels.py --work DIR [DATA ...] [--flights FLIGHTS NOISE --case snr_db=-10,leak_db=-6 ...]
        [--channel CHANNEL ...] [--draws N] [--select CHANNELS [--anomalies N~DB]]

DATA are labelled folders whose recordings have two channels, for example of `featstore simulate --microphones 2`. Each
`--case` is rendered from FLIGHTS and NOISE by scripts/render_two_microphones.py, whose options it names (snr_db,
leak_db, noise_sources, diffuse, moving=1, seed). With `--draws`, each case is rendered with so many seeds, and the
scores are means over them. DIR keeps recordings and stores; those that are there are not made again.

For every channel a store of `logmel` is built (`featstore build --channel`). Two systems are scored on it: one fixed
detector (DETECTOR on VIEW), and the fixed default ensemble. Printed is a Markdown row per case and system: the score of
the near microphone with its 95 % interval, and of every other channel the score and, in parentheses, its lead over the
near one on the same clips, with its interval. With several draws the brackets hold the lowest and the highest value.
**hurts** marks a channel that loses more than a point. The row `dB removed` needs no label: it is the power that a
channel removes from the near microphone, as the median over REMOVED training clips.

`--select 0,1,0-1` adds what a selection by generated anomalies chooses (`featstore build --anomalies`, `detect
--ensemble`, with the logmel statistics of SELECTED): from the near microphone alone (in its column), and from all these
channels side by side, with their weights. Its lead is that over the selection from the near microphone. `~DB` is the
level at which the far microphone hears a generated anomaly.
"""

import argparse
import contextlib
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from render_two_microphones import Rendering, render

from detectors.metrics.intervals import Interval, compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.scores import read_scores
from ensemble.cli import main as detect_command
from ensemble.defaults import default_recipe, single_recipe
from ensemble.output import labelled, measure, score_table, test_clips, year_of
from ensemble.recipe import Recipe, read_recipe
from ensemble.run import Detection, detect
from featstore.audio.near_far.mix import mix_of
from featstore.audio.near_far.subtract import near_minus_far
from featstore.cli import main as featstore
from featstore.layouts.recognise import find_clips
from featstore.plant.pair import Pair
from featstore.store import FeatureStore

CHANNELS = ("0", "1", "0-1", "0-1:taps=4", "0-1:window=8192", "0-1:window=4096,taps=2", "0-1:forget=0.98")
EMBEDDING = "logmel"
VIEW, DETECTOR = "logmel@p10", "mahalanobis:standardize=true"
SYSTEMS = (f"{VIEW} + {DETECTOR.partition(':')[0]}", "default ensemble")
HURTS = -0.01
REMOVED = 40
SELECTED = "logmel:stats=mean;p10;median;p90"


@dataclass(frozen=True)
class Choice:
    """A selection: its channels side by side, none for no selection, and the anomalies that it uses."""

    channels: str
    anomalies: str


Place = tuple[Path, Path]
"""Recordings, and the folder of their stores."""


@dataclass(frozen=True)
class Result:
    """Score of one system on one channel of one draw, and its lead over the near microphone, with their limits."""

    score: Interval
    lead: Interval | None


def main() -> None:
    """Build and score one case after another; print the rows of each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--flights", type=Path, nargs=2, metavar=("FLIGHTS", "NOISE"))
    parser.add_argument("--case", action="append", default=[], metavar="KEY=VALUE,...")
    parser.add_argument("--channel", action="append", default=[], metavar="CHANNEL")
    parser.add_argument("--select", default="", metavar="CHANNELS")
    parser.add_argument("--anomalies", default="4", metavar="N", help="of the selection, as for featstore build")
    parser.add_argument("--draws", type=int, default=1, metavar="N")
    args = parser.parse_args()
    if args.case and not args.flights:
        parser.error("--case: expected --flights FLIGHTS NOISE")
    channels = ("0", *(channel for channel in args.channel or CHANNELS if channel != "0"))
    print(f"    {shlex.join(['python', 'scripts/bench_channels.py', *sys.argv[1:]])}\n")
    show(["data", "system", *channels, *(["side by side"] if args.select else [])])
    show(["---"] * (2 + len(channels) + bool(args.select)))
    choice = Choice(args.select, args.anomalies)
    for data in args.data:
        rows_of(data.name, channels, choice, [(data, args.work / data.name)])
    for case in args.case:
        places = [rendered(case, seed, args.work, *args.flights) for seed in range(args.draws)]
        rows_of(case.replace(",", ", "), channels, choice, places)


def rendered(case: str, seed: int, work: Path, flights: Path, noise: Path) -> Place:
    """Recordings of a case and the folder of its stores; rendered where they are not there yet."""
    rendering = rendering_of(case, seed)
    folder = work / f"{case.replace(',', '_')}_draw={seed}"
    if not (folder / "rendered").exists():
        render(flights, noise, folder / "data", rendering)
        (folder / "rendered").touch()
    return folder / "data", folder


def rendering_of(case: str, seed: int) -> Rendering:
    """The rendering that a case names; `seed` is added to its own."""
    values = {key: float(value) for key, _, value in (item.partition("=") for item in case.split(","))}
    snr_db, own = values.pop("snr_db", -10.0), values.pop("seed", 0.0)
    kinds = {"leak_db": float, "noise_sources": int, "diffuse": float, "moving": bool}
    unknown = sorted(set(values) - set(kinds))
    if unknown:
        raise SystemExit(f"--case {case}: {', '.join(unknown)}; expected {', '.join(['snr_db', 'seed', *kinds])}")
    options = {"noise_sources": 1, **{key: kinds[key](value) for key, value in values.items()}}
    return Rendering(snr_db, Pair(**options), (0.2, 0.6), int(own) + seed)  # type: ignore[arg-type]


def results(data: Path, folder: Path, channels: tuple[str, ...]) -> dict[tuple[str, str], Result]:
    """Results of one folder of recordings, by channel and system; the first channel is the near microphone."""
    found: dict[tuple[str, str], Result] = {}
    near: dict[str, Detection] = {}
    for channel in channels:
        for system, detection in detections(built(data, folder, channel)):
            near.setdefault(system, detection)
            found[channel, system] = result(detection, near[system])
    return found


def built(data: Path, folder: Path, channel: str, *options: str, embedding: str = EMBEDDING) -> FeatureStore:
    """The store of a channel or of several, built where it is not there yet."""
    store = folder / "stores" / channel.replace(":", "_")
    words = ["build", str(data), str(store), "--channel", channel, "-e", embedding, "--workers", "0", *options]
    run(featstore, words)
    return FeatureStore.open(store)


def run(command: Callable[[list[str]], object], words: list[str]) -> None:
    """A command as a user gives it; what it prints goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            command(words)
        except SystemExit as done:
            if done.code:
                raise SystemExit(f"failed: {shlex.join(words)}") from None


def detections(store: FeatureStore) -> Iterator[tuple[str, Detection]]:
    """Both systems on a store."""
    recipes = single_recipe(store, DETECTOR, VIEW), default_recipe(store)
    yield from ((name, detect(store, recipe)) for name, recipe in zip(SYSTEMS, recipes, strict=True))


def result(detection: Detection, near: Detection) -> Result:
    """Score, and the lead over the same system on the near microphone where it is another one."""
    clips, _ = labelled(detection.clips)
    year, labels = year_of(clips), Labels.of(clips)
    _, limits = measure(score_table(detection), clips, year)
    if detection is near:
        return Result(limits.score, None)
    return Result(limits.score, compare(score_table(detection), score_table(near), labels, year).score)


def rows_of(name: str, channels: tuple[str, ...], choice: Choice, places: list[Place]) -> None:
    """Print the rows of one case: of every system, and of the selection."""
    draws = [results(data, folder, channels) for data, folder in places]
    for system in SYSTEMS:
        cells = [cell([draw[channel, system] for draw in draws]) for channel in channels]
        show([name, system, *cells, *([""] if choice.channels else [])])
    removed = [[removed_db(data, channel) for data, _ in places] for channel in channels]
    cells = ["" if None in values else f"{np.mean(values):.1f}" for values in removed]  # type: ignore[arg-type]
    show([name, "dB removed", *cells, *([""] if choice.channels else [])])
    if choice.channels:
        near, every = selections(choice, places)
        show([name, "selection", near, *[""] * (len(channels) - 1), every])


def removed_db(data: Path, channel: str) -> float | None:
    """Median power that a channel removes from the near microphone, over training clips; None where it is a plain one.

    It needs the recordings alone: no label of a test clip, and no store.
    """
    mix = mix_of(channel)
    if mix.how is None:
        return None
    listing = find_clips(data, "auto")
    clips = [clip for clip in listing.clips if clip.split == "train"]
    removed = []
    for clip in clips[:: max(1, len(clips) // REMOVED)]:
        wave, _ = soundfile.read(listing.root / clip.path, dtype="float32", always_2d=True)
        near, far = wave[:, mix.channels].T
        left, _ = near_minus_far(near, far, mix.how)
        removed.append(10 * np.log10((np.square(near).mean() + 1e-20) / (np.square(left).mean() + 1e-20)))
    return float(np.median(removed))


def show(cells: list[str]) -> None:
    """Print one row."""
    print(f"| {' | '.join(cells)} |", flush=True)


def selected(data: Path, folder: Path, channels: str, anomalies: str) -> tuple[FeatureStore, Path]:
    """The store of channels side by side with generated anomalies, and the results of the ensemble chosen by them."""
    folder = folder / f"anomalies={anomalies}"
    store = built(data, folder, channels, "--anomalies", anomalies, embedding=SELECTED)
    out = folder / "chosen" / channels.replace(":", "_")
    run(detect_command, [str(store.path), "--ensemble", "-o", str(out)])
    return store, out


def selections(choice: Choice, places: list[Place]) -> tuple[str, str]:
    """Cells of what a selection chooses: from the near microphone, and from all channels side by side."""
    near, every, weights = [], [], Counter[str]()
    for data, folder in places:
        store, of_near = selected(data, folder, "0", choice.anomalies.partition("~")[0])
        _, of_every = selected(data, folder, choice.channels, choice.anomalies)
        clips, _ = labelled(test_clips(store, None))
        labels, year = Labels.of(clips), year_of(clips)
        first, second = (read_scores(out / "scores.csv") for out in (of_near, of_every))
        near.append(Result(intervals(first, labels, year).score, None))
        lead = compare(second, first, labels, year).score
        every.append(Result(intervals(second, labels, year).score, lead))
        weights.update(channel_weights(read_recipe(of_every / "recipe.toml")))
    parts = ", ".join(f"{channel} {100 * part / len(places):.0f} %" for channel, part in weights.most_common())
    return cell(near), f"{cell(every)}: {parts}"


def channel_weights(recipe: Recipe) -> dict[str, float]:
    """Share of the weight of every channel in an ensemble, whose views are named `CHANNEL/VIEW`."""
    total = Counter[str]()
    for member in recipe.members:
        total[member.view.partition("/")[0] or "all joined"] += member.weight
    return {channel: weight / total.total() for channel, weight in total.items()}


def cell(draws: list[Result]) -> str:
    """A score, and behind it the lead, marked where it is a loss of more than a point; its interval or range."""
    score = text([result.score for result in draws])
    leads = [result.lead for result in draws if result.lead]
    if not leads:
        return score
    hurts = " **hurts**" if float(np.mean([lead.value for lead in leads])) < HURTS else ""
    return f"{score.partition(' ')[0]} ({text(leads, '+')}){hurts}"


def text(values: list[Interval], sign: str = "") -> str:
    """The mean in percent, and the interval of a single draw or the range of several."""
    mean = 100 * float(np.mean([value.value for value in values]))
    low, high = (values[0].low, values[0].high) if len(values) == 1 else extremes(values)
    return f"{mean:{sign}.1f} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"


def extremes(values: list[Interval]) -> tuple[float, float]:
    """The lowest and the highest value."""
    of = [value.value for value in values]
    return min(of), max(of)


if __name__ == "__main__":
    main()
