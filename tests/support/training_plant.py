"""A small plant for training: two machines, two sections, two domains, with or without attributes."""

from pathlib import Path

import numpy as np
import soundfile

from embedders.training.request import parse_setup
from embedders.training.settings import Setup
from featstore.clip import Clip

PITCH_HZ = {"fan": 300, "pump": 1200}
SPEED_HZ = {"slow": 0, "fast": 90}
SMALL: dict[str, tuple[str, ...]] = {
    "tdnn": ("n_mels=32", "hop=1024", "width=16", "dim=16"),
    "stgram": ("n_mels=16", "hop=2048", "n_fft=2048", "dim=16"),
    "two_branch": ("branch_dim=8", "windows=512"),
    "multires": ("branch_dim=8", "windows=256;1024"),
    "sw_wavenet": ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "layers=2", "dim=16"),
    "fte_net": ("windows=512", "branch_dim=8"),
    "estm": ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "state=4", "segments=8", "dim=16"),
    "dp_mae": ("n_mels=32", "patch_frames=8", "dim=16", "decoder_dim=8", "heads=2", "depth=1", "decoder_depth=1"),
    "ae": ("n_mels=32", "hop=1024"),
    "idcaf": ("n_mels=32", "hop=1024"),
    "anp": ("n_mels=32", "tile_mels=8", "frames=16", "step=8", "width=16"),
    "made": ("n_mels=32", "bands=8", "width=64"),
    "glow": ("n_mels=32", "patch=16", "step=8", "flows=2", "width=8", "code=4"),
    "aegan": ("n_mels=32", "frames=32", "hop=256", "width=2", "latent=8"),
}
QUICK = ("epochs=2", "batch=8", "learning_rate=0.01", "holdout=0.2")


def write_plant(root: Path, *, attributes: bool = True) -> list[Clip]:
    """Twelve training clips of half a second per machine and section, a quarter of them in the target domain."""
    rng, clips = np.random.default_rng(0), []
    for machine, pitch_hz in PITCH_HZ.items():
        for section in ("00", "01"):
            for i in range(12):
                speed = ("slow", "fast")[i % 2]
                domain = "target" if i % 4 == 3 else "source"
                t = np.arange(8000) / 16000
                hum = np.sin(2 * np.pi * (pitch_hz * (1 + int(section)) + SPEED_HZ[speed]) * t)
                path = f"{machine}_{section}_{i:02d}.wav"
                soundfile.write(root / path, 0.3 * hum + 0.03 * rng.normal(size=len(t)), 16000)
                labels = {"speed": speed} if attributes else {}
                clips.append(Clip(path, machine, section, "train", domain, "normal", labels))
    return clips


def quick_setup(name: str, *settings: str) -> Setup:
    """A setup whose training takes about a second."""
    return parse_setup(name, (*SMALL[name], *QUICK, *settings))
