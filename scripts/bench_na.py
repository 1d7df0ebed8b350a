"""How near the tokens of noisy pairs come to those of the clean near sound, by na_beats and by subtraction.

    python scripts/bench_na.py [--clips 120] [--seconds 2] [--epochs 60] [--width 64]

A small random BEATs (3 layers) is frozen. The corrections of na_beats are trained on the normal training clips of a
simulated plant of six machines, rendered into rooms with two noise sources at -10 to 10 dB. Prints a Markdown table for
the normal test clips in other rooms: the mean squared difference from the clean tokens, as a share (%) of that of the
noisy near channel, by number of noise sources and signal-to-noise ratio. `pooled` is the same for the mean over all
tokens. `without far` is na_beats trained and tested with the near channel in place of the far one. The encoder is
random, so the gain with a pretrained one will differ.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from embedders import create
from embedders.networks.finetuned.na_beats import NABeats, NABeatsNet
from embedders.networks.objectives.scenes import Scenes
from embedders.networks.trained import TrainedEmbedder
from embedders.pretrained.beats_network import BEATsConfig, BEATsNetwork
from embedders.training.request import parse_setup
from embedders.training.train import train
from featstore.audio.near_far.mix import mix_of
from featstore.layouts.recognise import find_clips
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate

RATE_HZ = 16_000
SUBTRACTED = ("0-1", "0-1:taps=4", "0-1:window=8192")
SNR_DB, SOURCES = (-10.0, 0.0, 10.0), (1, 2)
ROOMS, ROOM_SEED = 24, 1_000_000
SETTINGS = ("dim=64", "heads=4", "batch=8", "holdout=0.1", "learning_rate=0.003", "warmup=20", "labels=section")

Tokens = Callable[[Tensor], Tensor]


class NearTwice(NABeatsNet):
    """The network with the near channel in place of the far one."""

    def render(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of equal channels, and clean near waves."""
        pair, clean = super().render(waves)
        return pair[:, [0, 0]], clean


@dataclass(frozen=True, kw_only=True)
class WithoutFar(NABeats):
    """Embedder of the near channel alone."""

    network_type: ClassVar[type[nn.Module]] = NearTwice


def save_beats(path: Path, width: int) -> None:
    """Write a random BEATs of 3 layers in the official format."""
    torch.manual_seed(0)
    cfg = {"encoder_layers": 3, "encoder_embed_dim": width, "encoder_ffn_embed_dim": 2 * width, "embed_dim": width}
    cfg |= {"encoder_attention_heads": 4, "deep_norm": True, "relative_position_embedding": True, "gru_rel_pos": True}
    torch.save({"cfg": cfg, "model": dict(BEATsNetwork(BEATsConfig.of(cfg)).state_dict())}, path)


def trained(kind: type[TrainedEmbedder], root: Path, settings: tuple[str, ...], path: Path) -> Any:
    """Network of `kind` after a training on the normal training clips below `root`; says how its loss fell."""
    start = time.perf_counter()
    setup = replace(parse_setup("na_beats", settings), kind=kind)
    history = train(root, find_clips(root).clips, setup, path).facts["history"]
    losses = ", ".join(f"{key} {history[0][key]:.4f} to {history[-1][key]:.4f}" for key in ("loss", "held_out"))
    print(f"{kind.__name__}: {losses}, {time.perf_counter() - start:.0f} s", flush=True)
    return kind(checkpoint=str(path)).model.network


def subtracted(channel: str, pair: Tensor) -> Tensor:
    """Waves (batch, time) of near minus what far explains."""
    mix = mix_of(channel)
    waves = [mix.finished(both.T)[0] for both in pair.numpy()]
    return torch.from_numpy(np.stack(waves).astype(np.float32))


def errors(systems: dict[str, Tokens], clean: Tokens, scenes: Scenes, waves: Tensor) -> dict[str, tuple[float, float]]:
    """Mean squared difference from the clean tokens, of all tokens and of their mean, by system."""
    totals = {name: np.zeros(2) for name in systems}
    for i, batch in enumerate(torch.split(waves, 8)):
        pair, near = scenes.render(batch, torch.Generator().manual_seed(i), ROOM_SEED)
        expected = clean(near)
        for name, tokens in systems.items():
            found = tokens(pair)
            pooled = (found - expected).mean(dim=(1, 2)).square().mean()
            totals[name] += len(batch) * np.array([(found - expected).square().mean(), pooled])
    return {name: tuple(total / len(waves)) for name, total in totals.items()}


def test_waves(root: Path) -> Tensor:
    """Normal test clips (n, time)."""
    chosen = [clip for clip in find_clips(root).clips if clip.split == "test" and clip.label == "normal"]
    return torch.from_numpy(np.stack([soundfile.read(root / clip.path, dtype="float32")[0] for clip in chosen]))


@torch.inference_mode()
def print_table(systems: dict[str, Tokens], clean: Tokens, waves: Tensor) -> None:
    """Print a row per system and a column per case."""
    cases = [(sources, snr_db) for sources in SOURCES for snr_db in SNR_DB]
    found = [
        errors(systems, clean, Scenes(RATE_HZ, ROOMS, sources, (-15.0, -6.0), (snr_db, snr_db)), waves)
        for sources, snr_db in cases
    ]
    print("| tokens of | " + " | ".join(f"{sources}, {snr_db:g} dB" for sources, snr_db in cases) + " |")
    print("|---" * (1 + len(cases)) + "|")
    for what, i in (("", 0), (", pooled", 1)):
        print(f"| near{what}: mean squared | " + " | ".join(f"{case['near'][i]:.4f}" for case in found) + " |")
        for name in list(systems)[1:]:
            shares = [f"{100 * case[name][i] / case['near'][i]:.0f} %" for case in found]
            print(f"| {name}{what} | " + " | ".join(shares) + " |")


def main() -> None:
    """Train, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--width", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        simulate(work / "plant", Plant(clips=args.clips, seconds=args.seconds))
        save_beats(work / "beats.pt", args.width)
        settings = (f"encoder=beats={work / 'beats.pt'}", f"epochs={args.epochs}", *SETTINGS)
        alone = trained(WithoutFar, work / "plant", settings, work / "alone.safetensors")
        both = trained(NABeats, work / "plant", settings, work / "both.safetensors")
        frozen = create(f"beats={work / 'beats.pt'}").model  # type: ignore[attr-defined]

        def clean(waves: Tensor) -> Tensor:
            tokens: Tensor = frozen.tokens(waves, (frozen.n_layers,))[:, 0]
            return tokens

        systems: dict[str, Tokens] = {"near": lambda pair: clean(pair[:, 0])}
        for channel in SUBTRACTED:
            systems[channel] = lambda pair, channel=channel: clean(subtracted(channel, pair))  # type: ignore[misc]
        systems["na_beats, without far"] = lambda pair: alone.tokens(pair[:, [0, 0]])
        systems["na_beats"] = both.tokens
        print_table(systems, clean, test_waves(work / "plant"))


if __name__ == "__main__":
    main()
