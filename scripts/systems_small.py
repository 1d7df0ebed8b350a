"""Small settings for every kind of network, for bench_systems.py --small: about a minute of one core each.

A training sees a fixed number of clips, so its epochs follow from the number of training clips: 2,500 are 19 epochs of
130 clips, or 5 of 540. The numbers were set by the speed of each network on clips of 10 s. Batches are smaller than
published, since with 128 an epoch of 130 clips would be one step. Networks over spectrogram channels get crops of 4 s
with half the published mels and frames. Moving averages of weights are off, since few steps hardly move them. A warm-up
is at most a fifth of the steps.
"""

from dataclasses import dataclass
from math import ceil

from ensemble.systems.catalogue import System

FEWEST_EPOCHS, MOST_EPOCHS = 2, 40
WARMUP_SHARE = 5
CROP = ("seconds=4",)
HALF = (*CROP, "n_mels=64", "hop=1024")


@dataclass(frozen=True)
class Small:
    """Settings of a kind of network, and how many clips all its epochs see together."""

    clips: int = 2500
    batch: int = 16
    learning_rate: float | None = 1e-3  # None: that of the recipe
    settings: tuple[str, ...] = ()


SMALL: dict[str, Small] = {
    "stgram": Small(4000, settings=HALF),
    "tdnn": Small(15_000, settings=HALF),
    "sw_wavenet": Small(8000, settings=HALF),
    "estm": Small(6000, settings=HALF),
    "transae": Small(5000, settings=HALF),
    "two_branch": Small(4000, settings=CROP),
    "fte_net": Small(5000, settings=CROP),
    "multires": Small(settings=CROP),
    "ae": Small(6000, batch=8),
    "idnn": Small(6000, batch=8),
    "idcaf": Small(4000, batch=8),
    "mobilenetv2": Small(5000, batch=8),
    "aegan": Small(1000, learning_rate=2e-4),
    "anp": Small(6000, learning_rate=None),
    "made": Small(learning_rate=None),
    "glow": Small(2500, learning_rate=None, settings=("n_mels=64", "hop=1024")),
    "dp_mae": Small(6000, learning_rate=5e-4, settings=CROP),
    "finetune": Small(500, batch=8, learning_rate=None),
    "na_beats": Small(300, batch=8, learning_rate=None),
}
"""By embedder; others get `Small()`."""


def small_settings(system: System, n_train: int) -> list[str]:
    """KEY=VALUE for `n_train` training clips; a pre-training gets half of the clips that are seen."""
    small, of = SMALL.get(system.embedder, Small()), system.settings
    stages = [""] + (["pretrain."] if any(key.startswith("pretrain.") for key in of) else [])
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(small.clips / len(stages) / max(1, n_train))))
    chosen = [*small.settings, *(["ema=0"] if "ema" in of else [])]
    for stage in stages:
        chosen += [f"{stage}epochs={epochs}", f"{stage}batch={small.batch}"]
        chosen += [f"{stage}learning_rate={small.learning_rate:g}"] if small.learning_rate else []
    if "warmup" in of:
        steps = epochs * ceil(n_train / small.batch)
        chosen.append(f"warmup={min(int(of['warmup']), ceil(steps / WARMUP_SHARE))}")
    if "imprint" in of:
        share = int(of["imprint"]) / int(of["epochs"])
        chosen.append(f"imprint={min(epochs - 1, max(1, round(share * epochs)))}")
    return chosen
