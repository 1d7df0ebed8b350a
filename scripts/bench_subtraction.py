#!/usr/bin/env python3
"""How much noise near minus far removes in rooms, by its window, taps and forgetting, and what it costs.

    python scripts/bench_subtraction.py [--rooms 12] [--seconds 10] [--seed 0]

White noise of one or two sources, at random places in random rooms (featstore.plant.rooms), without any machine. Prints
a Markdown table: dB removed from the near microphone, as the mean over the rooms, by reverberation time and number of
sources; what is removed although the two microphones hear independent noise, which is lost of any sound (`nothing in
common`); and milliseconds of processor time per recording.
"""

import argparse
import time

import numpy as np
from scipy import fft

from featstore.audio.near_far.subtract import Subtraction, near_minus_far
from featstore.plant.pair import heard, noise_responses
from featstore.plant.rooms import draw_noise_place, draw_room, draw_stand

RATE_HZ = 16_000
HOWS = {
    "0-1": Subtraction(),
    "0-1:taps=4": Subtraction(taps=4),
    "0-1:window=4096": Subtraction(window=4096),
    "0-1:window=8192": Subtraction(window=8192),
    "0-1:window=16384": Subtraction(window=16384),
    "0-1:window=4096,taps=2": Subtraction(window=4096, taps=2),
    "0-1:forget=0.98": Subtraction(forget=0.98),
}
REVERBERATION_S, SOURCES = (0.2, 0.4, 0.6), (1, 2)


def noise(rng: np.random.Generator, reverberation_s: float, sources: int, samples: int) -> np.ndarray:
    """Near and far recording (2, samples) of white noise from so many places in a random room."""
    room = draw_room(rng, (reverberation_s, reverberation_s))
    stand = draw_stand(rng, room)
    both = np.zeros((2, samples))
    for _ in range(sources):
        responses = noise_responses(room, stand, draw_noise_place(rng, room, stand)[None], RATE_HZ, rng)[0]
        both += fft.irfft(heard(fft.rfft(0.01 * rng.normal(size=samples)), responses, samples), samples, axis=1)
    return both.astype(np.float32)


def removed_db(both: np.ndarray, how: Subtraction) -> float:
    """Power that the subtraction removes."""
    left, _ = near_minus_far(*both, how)
    return float(10 * np.log10(np.square(both[0]).mean() / np.square(left).mean()))


def milliseconds(both: np.ndarray, how: Subtraction, repeats: int = 5) -> float:
    """Processor time of one subtraction, the least of several."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        near_minus_far(*both, how)
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    """Render, subtract and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, samples = np.random.default_rng(args.seed), round(args.seconds * RATE_HZ)
    kinds = [(reverberation_s, sources) for sources in SOURCES for reverberation_s in REVERBERATION_S]
    cases = [(f"{t:g} s, {n}", [noise(rng, t, n, samples) for _ in range(args.rooms)]) for t, n in kinds]
    cases.append(("nothing in common", [0.01 * rng.normal(size=(2, samples)).astype(np.float32) for _ in range(4)]))
    header = ("channel", *(name for name, _ in cases), "ms")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for name, how in HOWS.items():
        removed = [f"{np.mean([removed_db(both, how) for both in rooms]):.1f}" for _, rooms in cases]
        print(f"| {name} | {' | '.join(removed)} | {milliseconds(cases[0][1][0], how):.0f} |", flush=True)


if __name__ == "__main__":
    main()
