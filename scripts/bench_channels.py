#!/usr/bin/env python3
"""Official score of the near microphone, the far one, and the near one minus what the far one explains.

    python scripts/bench_channels.py --work DIR [DATA ...] [--flights FLIGHTS NOISE --case snr_db=-10,leak_db=-6 ...]
        [--channel CHANNEL ...] [--draws N]

DATA are labelled folders whose recordings have two channels, for example of `featstore simulate --microphones 2`. Each
`--case` is rendered from FLIGHTS and NOISE by scripts/render_two_microphones.py, whose options it names (snr_db, leak_db,
noise_sources, diffuse, moving=1, seed). With `--draws`, each case is rendered with so many seeds, and the scores are
means over them. DIR keeps recordings and stores; those that are there are not made again.

For every channel a store of `logmel` is built (`featstore build --channel`). Two systems are scored on it: one fixed
detector (DETECTOR on VIEW), and the fixed default ensemble. In brackets are 95 % intervals, or with several draws the
lowest and the highest score. `lead` is the difference to the near microphone on the same clips, with its interval or
range; **hurts** marks a channel that loses more than a point.
"""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from render_two_microphones import Rendering, render

from detectors.metrics.intervals import Interval, compare
from detectors.metrics.labels import Labels
from ensemble.defaults import default_recipe, single_recipe
from ensemble.output import labelled, measure, score_table, year_of
from ensemble.run import Detection, detect
from featstore.cli import main as featstore
from featstore.plant.pair import Pair
from featstore.store import FeatureStore

CHANNELS = ("0", "1", "0-1", "0-1:taps=4", "0-1:window=8192", "0-1:window=4096,taps=2", "0-1:forget=0.98")
EMBEDDING = "logmel"
VIEW, DETECTOR = "logmel@p10", "mahalanobis:standardize=true"
SYSTEMS = (f"{VIEW} + {DETECTOR.partition(':')[0]}", "default ensemble")
HEADER = ("data", "channel", *(column for system in SYSTEMS for column in (system, "lead")))
HURTS = -0.01


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
    parser.add_argument("--draws", type=int, default=1, metavar="N")
    args = parser.parse_args()
    if args.case and not args.flights:
        parser.error("--case: expected --flights FLIGHTS NOISE")
    channels = ("0", *(channel for channel in args.channel or CHANNELS if channel != "0"))
    print(f"    {shlex.join(['python', 'scripts/bench_channels.py', *sys.argv[1:]])}\n")
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    for data in args.data:
        show(data.name, channels, [results(data, args.work / data.name, channels)])
    for case in args.case:
        draws = []
        for seed in range(args.draws):
            rendering = rendering_of(case, seed)
            folder = args.work / f"{case.replace(',', '_')}_draw={seed}"
            if not (folder / "rendered").exists():
                render(*args.flights, folder / "data", rendering)
                (folder / "rendered").touch()
            draws.append(results(folder / "data", folder, channels))
        show(case.replace(",", ", "), channels, draws)


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


def built(data: Path, folder: Path, channel: str) -> FeatureStore:
    """The store of one channel, built where it is not there yet."""
    store = folder / "stores" / channel.replace(":", "_")
    words = ["build", str(data), str(store), "--channel", channel, "-e", EMBEDDING, "--workers", "0"]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            featstore(words)
        except SystemExit as done:
            if done.code:
                raise SystemExit(f"failed: featstore {shlex.join(words)}") from None
    return FeatureStore.open(store)


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


def show(name: str, channels: tuple[str, ...], draws: list[dict[tuple[str, str], Result]]) -> None:
    """Print the rows of one case."""
    for channel in channels:
        cells = []
        for system in SYSTEMS:
            of_draws = [draw[channel, system] for draw in draws]
            leads = [one.lead for one in of_draws if one.lead]
            cells += [text([one.score for one in of_draws]), lead_text(leads) if leads else ""]
        print(f"| {name} | {channel} | {' | '.join(cells)} |", flush=True)


def text(values: list[Interval], sign: str = "") -> str:
    """The mean in percent, and the interval of a single draw or the range of several."""
    mean = 100 * float(np.mean([value.value for value in values]))
    low, high = (values[0].low, values[0].high) if len(values) == 1 else extremes(values)
    return f"{mean:{sign}.1f} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"


def lead_text(leads: list[Interval]) -> str:
    """A lead; marked where it is a loss of more than a point."""
    hurts = " **hurts**" if float(np.mean([lead.value for lead in leads])) < HURTS else ""
    return text(leads, "+") + hurts


def extremes(values: list[Interval]) -> tuple[float, float]:
    """The lowest and the highest value."""
    of = [value.value for value in values]
    return min(of), max(of)


if __name__ == "__main__":
    main()
