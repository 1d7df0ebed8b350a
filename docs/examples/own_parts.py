# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An embedder and a detector of one's own
#
# An **embedder** turns recordings into vectors. A **detector** learns from the vectors of normal recordings and scores
# others. Here are one of each, in about twenty lines. Both are checked, and then they work in an ensemble beside the
# parts of the package.
#
# The recordings are simulated: a bearing and a gearbox, with faults of several strengths. `workers=0` computes in this
# process, here and below. Worker processes would import this file again, so a script that uses them begins its work
# below `if __name__ == "__main__":`.

# %%
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from detectors.base import Fitted
from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from embedders import create, fingerprint
from ensemble.output import score_table
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore import registry
from featstore.build import BuildOptions, Request, build
from featstore.layouts.recognise import find_clips
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate
from featstore.store import FeatureStore
from featstore.testing import check_detector, check_embedder

CLIPS = int(os.environ.get("CLIPS", "240"))  # the test of this page runs it with fewer
FOLDER = Path("own_parts_example")
FOLDER.mkdir(exist_ok=True)

plant = Plant(clips=CLIPS, machines=("bearing", "gearbox"), seconds=4)
simulation = simulate(FOLDER / "plant", plant, workers=0)
print(f"{simulation.clips} recordings in {FOLDER / 'plant'}")

# %% [markdown]
# ## The embedder
#
# A damaged bearing or tooth gives short impacts, many times a second. They are seen in the spectrum of the *envelope*:
# the power of the high frequencies over time, transformed once more. This is a classic of vibration analysis.
#
# An embedder is a class with the names below. `embed` gets waves of equal length, float32 (batch, time), and
# returns one vector per recording. The waves may be read-only, and a batch of 0 waves gives the shape `(0, *shape)`.
# `fingerprint` changes with everything that changes a vector; the store refuses
# to mix two.


# %%
@dataclass(frozen=True, kw_only=True)
class EnvelopeSpectrum:
    """Log spectrum of the envelope above `low_hz`, up to `bins` steps of 4 Hz."""

    low_hz: int = 2000
    bins: int = 64
    sample_rate_hz: int = 16000

    name = "envelope"
    views = ()
    min_samples = 4096

    @property
    def shape(self):
        return (self.bins,)

    @property
    def config(self):
        return asdict(self)

    @property
    def fingerprint(self):
        return fingerprint("EnvelopeSpectrum", self.config)

    def embed(self, waves):
        frames = np.lib.stride_tricks.sliding_window_view(waves, 64, axis=-1)[:, ::16]  # 1,000 frames a second
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(64))))[..., self.low_hz * 64 // self.sample_rate_hz :]
        envelope = np.sqrt(power.sum(axis=-1))
        parts = np.lib.stride_tricks.sliding_window_view(envelope, 250, axis=-1)[:, ::125]  # a quarter of a second
        spectrum = np.abs(np.fft.rfft(parts * np.hanning(250))).mean(axis=1)
        return np.log(spectrum[:, 1 : self.bins + 1] / (spectrum[:, :1] + 1e-9) + 1e-9).astype(np.float32)


check_embedder(EnvelopeSpectrum())
print("the embedder keeps its contract")

# %% [markdown]
# ## The detector
#
# How many robust standard deviations is a recording away from the median of the normal ones? The score is the mean
# of the largest deviations, because a fault changes few of the numbers. `_learn` gets the vectors of normal
# recordings, with the domain and the group of each; `_score` returns one number per recording, and higher is more
# anomalous.


# %%
class LargestDeviations(Fitted):
    """Mean of the `top` largest distances to the median, in units of the median absolute deviation."""

    def __init__(self, *, top: int = 5) -> None:
        self.top = top

    def _learn(self, X, domain, group):
        self.median_ = np.median(X, axis=0)
        self.scale_ = np.median(np.abs(X - self.median_), axis=0) + 1e-9

    def _score(self, X):
        deviations = np.abs(X - self.median_) / self.scale_
        return np.sort(deviations, axis=1)[:, -self.top :].mean(axis=1).astype(np.float64)


check_detector(LargestDeviations)
print("the detector keeps its contract")

# %% [markdown]
# `check_embedder` and `check_detector` raise an error that lists everything that is missing or wrong. Here a detector
# forgets to return itself:

# %%
try:
    check_detector(type("Forgetful", (LargestDeviations,), {"fit": lambda self, X: None}))
except AssertionError as error:
    print(error)

# %% [markdown]
# ## A store with both embedders
#
# A store holds any number of embeddings of the same recordings. A second run embeds only what is new.

# %%
listing = find_clips(FOLDER / "plant")
requests = [Request("envelope", EnvelopeSpectrum), Request("logmel", registry.factory(create, "logmel"))]
report = build(listing.root, listing.clips, FOLDER / "store", requests, BuildOptions(workers=0))
print(report.rows)

store = FeatureStore.open(FOLDER / "store")
print(store.clips("envelope"))
print(store.matrix("envelope").shape, store.matrix("logmel").shape)

# %% [markdown]
# ## An ensemble
#
# A recipe names the members. A detector of one's own is named `module:Class`; `__main__` is this notebook. The
# scores of the members become comparable by their place among the scores of normal recordings, and are then
# averaged.
#
# The labels of the test recordings are used here only, to see how good each member is. Official score of DCASE 2023
# in percent: the harmonic mean of the AUC in both domains and of the partial AUC. With few test recordings, it is
# uncertain by several points.

# %%
MINE = Member("envelope", "__main__:LargestDeviations:top=8")
ENVELOPE = Member("envelope", "mahalanobis:covariance=ledoit_wolf")
LOGMEL = Member("logmel", "knn:k=1", "mean")
for name, members in {
    "envelope, own detector": (MINE,),
    "envelope, Mahalanobis": (ENVELOPE,),
    "log-mel, nearest neighbour": (LOGMEL,),
    "all three": (MINE, ENVELOPE, LOGMEL),
}.items():
    detection = detect(store, Recipe(members, fusion="mean"), workers=0)
    evaluation = evaluate(score_table(detection), Labels.of(detection.clips), 2023)
    print(f"{name:<28} {100 * evaluation.score:.1f}")

# %% [markdown]
# ## On the command line
#
# Put both classes into a file, `my_parts.py`, and start the commands in its folder:
#
# ```console
# $ featstore build plant store -e my_parts:EnvelopeSpectrum --as envelope --anomalies auto
# $ featstore build plant store -e logmel --anomalies auto
# $ detect store -e envelope -d my_parts:LargestDeviations:top=8 -o results
# $ detect store --ensemble -o ensemble
# ```
#
# `--ensemble` chooses by generated anomalies. With `-e`, a build makes none unless `--anomalies auto` is given, and an
# embedding without them is not used in the choice.
