#!/usr/bin/env python3
"""Which near-minus-far mixes are left out by what they remove, and what that saves in official score.

    python scripts/bench_gate.py --work DIR [DATA ...] [--flights FLIGHTS NOISE --case snr_db=-10,leak_db=-6,seed=1 ...]
        [--channels 0,1,0-1,0-1:window=8192]

DATA, `--case` and DIR are those of scripts/bench_channels.py. For each case one store of `logmel` with all channels
side by side is built. The decision (`ensemble.checks.subtracted`) comes from its training clips alone; labels are
used for the scores only. Printed is a Markdown row per case and subtraction: the power that it removes in waves
(`bench_channels.removed_db`) and by stored levels, the share of the spread between clips that is left, the decision,
and, for both systems of bench_channels.py on this mix alone, the lead over the near microphone with its 95 % interval.
**hurts** marks a loss of more than a point where the mix is used, and *lost* a gain of more than a point where it is
left out. The row `side by side` is the default ensemble on all channels: its lead over that of the near microphone
with every mix, and after the decision.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench_channels import DETECTOR, EMBEDDING, SYSTEMS, VIEW, Place, Result, built, removed_db, rendered, result, show

from ensemble.checks.subtracted import measured
from ensemble.defaults import DETECTORS, default_recipe, single_recipe, weighted_recipe
from ensemble.recipe import Recipe
from ensemble.run import Detection, detect
from featstore.audio.near_far.mixes import mix_of_view, mix_texts, subtractions
from featstore.store import FeatureStore

CHANNELS = "0,1,0-1,0-1:window=8192"
COLUMNS = ("data", "channel", "dB removed", "by levels", "spread", "decision")
POINT = 0.01


def main() -> None:
    """Build, measure and score one case after another; print the rows of each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--flights", type=Path, nargs=2, metavar=("FLIGHTS", "NOISE"))
    parser.add_argument("--case", action="append", default=[], metavar="KEY=VALUE,...")
    parser.add_argument("--channels", default=CHANNELS)
    args = parser.parse_args()
    if args.case and not args.flights:
        parser.error("--case: expected --flights FLIGHTS NOISE")
    print(f"    {shlex.join(['python', 'scripts/bench_gate.py', *sys.argv[1:]])}\n")
    show([*COLUMNS, *SYSTEMS])
    show(["---"] * (len(COLUMNS) + len(SYSTEMS)))
    for data in args.data:
        rows_of(data.name, (data, args.work / data.name), args.channels)
    for case in args.case:
        rows_of(case.replace(",", ", "), rendered(case, 0, args.work, *args.flights), args.channels)


def rows_of(name: str, place: Place, channels: str) -> None:
    """Print the rows of one case."""
    data, folder = place
    store = built(data, folder, channels)
    pairs = subtractions(mix_texts(store.info(EMBEDDING).channel))
    near_mix = next(iter(pairs.values()))
    near = systems(store, near_mix)
    for mix in pairs:
        effect = measured(store, mix, pairs[mix])
        left_out = effect is None or bool(effect.reason)
        numbers = ["", ""] if effect is None else [f"{effect.power_db:.1f}", f"{effect.spread:.3f}"]
        of_mix = zip(systems(store, mix), near, strict=True)
        cells = [cell(result(detection, of_near), left_out=left_out) for detection, of_near in of_mix]
        show([name, mix, f"{removed_db(data, mix):.1f}", *numbers, "left out" if left_out else "used", *cells])
    every, gated = (result(detect(store, recipe, workers=0), near[1]) for recipe in both_defaults(store))
    show([name, "side by side", *[""] * 4, "", f"{cell(every)} -> {cell(gated)}"])


def systems(store: FeatureStore, mix: str) -> tuple[Detection, Detection]:
    """Both systems on one mix, as on a store of this mix alone."""
    return (
        detect(store, single_recipe(store, DETECTOR, VIEW.replace("@", f"@{mix}/")), workers=0),
        detect(store, weighted_recipe(store, sources_of(store, [mix]), DETECTORS), workers=0),
    )


def both_defaults(store: FeatureStore) -> tuple[Recipe, Recipe]:
    """The default ensemble with all mixes, and the one that leaves mixes out by what they remove."""
    every = sources_of(store, mix_texts(store.info(EMBEDDING).channel))
    return weighted_recipe(store, every, DETECTORS), default_recipe(store)


def sources_of(store: FeatureStore, mixes: Sequence[str]) -> list[tuple[str, str]]:
    """The views of some mixes."""
    info = store.info(EMBEDDING)
    return [(EMBEDDING, view) for view in info.views if mix_of_view(info.channel, view) in mixes]


def cell(of: Result, *, left_out: bool | None = None) -> str:
    """A lead in points with its interval; with a decision also whether it costs more than a point."""
    if of.lead is None:
        return f"{100 * of.score.value:.1f}"
    low, value, high = (100 * part for part in (of.lead.low, of.lead.value, of.lead.high))
    mark = ""
    if left_out is not None:
        mark = " *lost*" if left_out and value > 100 * POINT else mark
        mark = " **hurts**" if not left_out and value < -100 * POINT else mark
    return f"{value:+.1f} [{low:+.0f}, {high:+.0f}]{mark}"


if __name__ == "__main__":
    main()
