"""Gain of fine-tuning small random encoders: losses, and accuracy of the machine of new normal recordings.

    python scripts/bench_finetune.py [--clips 400] [--epochs 8] [--encoder beats wav2vec2 hubert wavlm ast]

The data are a simulated plant of six machines. `before` is a head trained with a learning rate near 0; `head`, `lora`
and `full` train for the same epochs from the same weights by ArcFace over the machines. New recordings are the normal
test clips, half of them of the target domain; the predicted machine is that of the most probable class. The encoders
are random, so the gain of a pretrained encoder will differ.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from embedders import create
from embedders.networks.checkpoint import Trained
from embedders.pretrained.beats_network import BEATsConfig, BEATsNetwork
from embedders.training.request import parse_setup
from embedders.training.train import train
from featstore.clip import Clip
from featstore.layouts.recognise import find_clips
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate

SIZE = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
WAVES = SIZE | {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 4}
KINDS = {
    "wav2vec2": ("Wav2Vec2", WAVES),
    "hubert": ("Hubert", WAVES),
    "wavlm": ("WavLM", WAVES),
    "ast": ("AST", SIZE | {"num_mel_bins": 64, "max_length": 200}),
}
SETTINGS = ("dim=32", "rank=8", "batch=16", "holdout=0.1", "learning_rate=0.003", "warmup=20", "labels=section")
RUNS = {
    "before": ("mode=head", "epochs=1", "learning_rate=1e-12", "warmup=0"),
    "head": ("mode=head",),
    "lora": ("mode=lora",),
    "full": ("mode=full",),
}


def save_beats(path: Path) -> None:
    """Write a random BEATs of 3 layers in the official format."""
    cfg = {"encoder_layers": 3, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4}
    cfg |= {"embed_dim": 64, "deep_norm": True, "relative_position_embedding": True, "gru_rel_pos": True}
    torch.save({"cfg": cfg, "model": dict(BEATsNetwork(BEATsConfig.of(cfg)).state_dict())}, path)


def save_encoder(folder: Path, kind: str) -> None:
    """Write a random encoder of transformers by `save_pretrained`."""
    import transformers as t

    t.utils.logging.disable_progress_bar()
    name, size = KINDS[kind]
    getattr(t, f"{name}Model")(getattr(t, f"{name}Config")(**size)).save_pretrained(folder)
    ast = {"num_mel_bins": 64, "max_length": 200}
    extractor = t.ASTFeatureExtractor(**ast) if kind == "ast" else t.Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor.save_pretrained(folder)


def accuracy(checkpoint: Path, root: Path, clips: list[Clip], machines: list[str]) -> float:
    """Share of the clips (%) whose most probable class is their machine."""
    embedder = create(f"finetune:checkpoint={checkpoint},output=posterior")
    waves = [sf.read(root / clip.path, dtype="float32")[0] for clip in clips]
    posterior = np.concatenate([embedder.embed(np.stack(waves[i : i + 8])) for i in range(0, len(waves), 8)])
    predicted = [machines[i] for i in posterior.argmax(1)]
    return 100 * float(np.mean([name == clip.machine for name, clip in zip(predicted, clips, strict=True)]))


def row(kind: str, run: str, trained: Trained, percent: float, wall_s: float) -> str:
    """One line of the table."""
    history = trained.facts["history"]
    numbers = sum(tensor.numel() for tensor in trained.tensors.values())
    losses = " | ".join(f"{history[0][key]:.2f} to {history[-1][key]:.2f}" for key in ("loss", "held_out"))
    return f"| {kind} | {run} | {numbers:,} | {losses} | {percent:.1f} | {wall_s:.0f} |"


def main() -> None:
    """Train, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--encoder", nargs="*", choices=["beats", *KINDS], default=["beats", *KINDS])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        simulate(work / "plant", Plant(clips=args.clips, seconds=2.0))
        listing = find_clips(work / "plant", "auto")
        new = [clip for clip in listing.clips if clip.split == "test" and clip.label == "normal"]
        machines = sorted({clip.machine for clip in new})
        print(f"{len(new)} new normal clips of {len(machines)} machines; 2 s, {args.epochs} epochs\n")
        print("| encoder | trained | numbers | loss, first to last | held-out loss | machine right % | s |")
        print("|---|---|---|---|---|---|---|")
        for kind in args.encoder:
            torch.manual_seed(0)
            weights = work / (f"{kind}.pt" if kind == "beats" else kind)
            save_beats(weights) if kind == "beats" else save_encoder(weights, kind)
            for run, changes in RUNS.items():
                path = work / f"{kind}-{run}.safetensors"
                setup = parse_setup(
                    "finetune", (f"encoder={kind}={weights}", f"epochs={args.epochs}", *SETTINGS, *changes)
                )
                start = time.perf_counter()
                trained = train(listing.root, listing.clips, setup, path)
                wall_s = time.perf_counter() - start
                percent = accuracy(path, listing.root, new, machines)
                print(row(kind, run, trained, percent, wall_s), flush=True)


if __name__ == "__main__":
    main()
