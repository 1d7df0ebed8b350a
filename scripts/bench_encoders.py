"""Clips per second of pretrained encoders of base size: network alone, whole builds, and a matrix product beside them.

    python scripts/bench_encoders.py [--encoder beats ...] [--batch 1 ...] [--clips 24] [--rounds 3] [--device cpu]

Weights are random, in the official sizes and formats; clips are 10 s of noise at 16 kHz. In each round, each row
measures in turn: a large matrix product in its precision, its front end, its model (waves in the memory of the device
to tokens, with the front end) and a whole build of `--clips` files that are not in the system's cache. The table shows
medians, and medians of ratios within rounds. Operations are those of matrix products, convolutions and attention; a
multiplication and an addition are two. On a CPU all runs in one process with OMP_NUM_THREADS threads, and seconds are
processor time divided by the threads, which other programs disturb less. On a GPU other processes read the files, and
the first fifth of a build is not counted, because they are still starting.
"""

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from bench_training import RATE, SECONDS, forget, write_wavs
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import embedders
from embedders.pretrained.beats_network import BEATsConfig, BEATsNetwork, front_end
from embedders.pretrained.frozen import PRECISIONS, FrozenEncoder
from featstore.build import BuildOptions, Progress, Request, build
from featstore.building.cores import cores
from featstore.clip import Clip

ENCODERS = ("beats", "wav2vec2", "hubert", "ast")
BEATS_BASE = {"deep_norm": True, "relative_position_embedding": True, "gru_rel_pos": True, "max_distance": 800}
GEMM_SIZE = {"cpu": 2048, "cuda": 8192}
BATCHES = {"cpu": (1, 2, 4), "cuda": (16, 64)}
COLUMNS = ("matmul TF/s", "model clips/s", "of matmul", "front end", "build clips/s", "audio-hours/s", "of model")
HEADER = ("encoder", "GF a clip", "precision", "batch", *COLUMNS)
FOOTER = "Targets on a GPU in bfloat16: model at 50 % of the matmul rate for BEATs, build at 80 % of the model."


class Round(NamedTuple):
    """One measurement of a row: operations per second of the matrix product, seconds per clip of the others."""

    matmul: float
    front_s: float
    model_s: float
    build_s: float


def write_encoder(folder: Path, kind: str) -> Path:
    """Write an encoder of base size with random weights in the official format."""
    torch.manual_seed(0)
    if kind == "beats":
        path = folder / "beats.pt"
        torch.save({"cfg": BEATS_BASE, "model": BEATsNetwork(BEATsConfig.of(BEATS_BASE)).state_dict()}, path)
        return path
    import transformers as t

    t.utils.logging.disable_progress_bar()
    makers: dict[str, Callable[[], tuple[Any, Any]]] = {
        "wav2vec2": lambda: (t.Wav2Vec2Model(t.Wav2Vec2Config()), t.Wav2Vec2FeatureExtractor()),
        "hubert": lambda: (t.HubertModel(t.HubertConfig()), t.Wav2Vec2FeatureExtractor()),
        "ast": lambda: (t.ASTModel(t.ASTConfig()), t.ASTFeatureExtractor()),
    }
    for part in makers[kind]():
        part.save_pretrained(folder / kind)
    return folder / kind


@lru_cache(maxsize=1)
def cached_encoder(spec: str, device: str) -> FrozenEncoder:
    """Encoder by its spec, loaded once per process, so that the time of a build does not include loading."""
    encoder = embedders.create(spec, device)
    assert isinstance(encoder, FrozenEncoder)
    assert encoder.fingerprint
    return encoder


def clock(device: str) -> float:
    """Clock in seconds, for differences, after waiting for all queued work of the device."""
    if device == "cpu":
        return time.process_time() / torch.get_num_threads()
    torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], device: str) -> float:
    """Seconds that `work` takes."""
    start = clock(device)
    work()
    return clock(device) - start


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second of a square matrix product, best of three."""
    n = GEMM_SIZE[device]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    torch.mm(a, b)
    return 2 * n**3 / min(seconds(lambda: torch.mm(a, b), device) for _ in range(3))


def operations(encoder: FrozenEncoder, waves: torch.Tensor) -> int:
    """Number of operations of one clip; attention counts as two matrix products."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        encoder.model.tokens(waves[:1], (1,))
    return counter.get_total_flops()


def build_time(root: Path, clips: list[Clip], spec: str, batch: int, device: str) -> float:
    """Seconds per clip from files to a committed store."""
    marks: list[tuple[float, int]] = []

    def mark(progress: Progress) -> None:
        marks.append((clock(device), progress.done))

    forget(root / clip.path for clip in clips)
    workers = 0 if device == "cpu" else cores()
    options = BuildOptions(workers=workers, batch=batch, embed_in_workers=device == "cpu")
    build(root, clips, root / "store", [Request("bench", partial(cached_encoder, spec, device))], options, report=mark)
    ended = clock(device)
    shutil.rmtree(root / "store")
    began, n_before = next((at, done) for at, done in marks if not workers or done >= len(clips) / 5)
    return (ended - began) / (len(clips) - n_before)


def measure(args: argparse.Namespace, root: Path, clips: list[Clip], spec: str, batch: int) -> list[Round]:
    """All rounds of a row, after a first call that warms up."""
    encoder = cached_encoder(spec, args.device)
    rng = np.random.default_rng(0)
    waves = torch.from_numpy(rng.uniform(-0.5, 0.5, (batch, RATE * SECONDS)).astype(np.float32)).to(args.device)
    layers, front = (encoder.model.n_layers,), getattr(encoder.model, "front_end", front_end)

    @torch.inference_mode()
    def measure_round() -> Round:
        count = max(1, args.clips // batch)
        rate = matmul_rate(args.device, PRECISIONS[encoder.precision])
        front_s = seconds(lambda: [front(waves) for _ in range(count)], args.device) / (count * batch)
        model_s = seconds(lambda: [encoder.model.tokens(waves, layers) for _ in range(count)], args.device)
        return Round(rate, front_s, model_s / (count * batch), build_time(root, clips, spec, batch, args.device))

    with torch.inference_mode():
        encoder.model.tokens(waves, layers)
    return [measure_round() for _ in range(args.rounds)]


def cells(n_operations: int, rounds: list[Round]) -> tuple[str, ...]:
    """Texts of COLUMNS."""

    def median(value: Callable[[Round], float]) -> float:
        return statistics.median(map(value, rounds))

    clips_per_s = median(lambda r: 1 / r.build_s)
    return (
        f"{median(lambda r: r.matmul) / 1e12:.3g}",
        f"{median(lambda r: 1 / r.model_s):.3g}",
        f"{median(lambda r: n_operations / r.model_s / r.matmul):.0%}",
        f"{median(lambda r: r.front_s / r.model_s):.1%}",
        f"{clips_per_s:.3g}",
        f"{clips_per_s * SECONDS / 3600:.2g}",
        f"{median(lambda r: r.model_s / r.build_s):.0%}",
    )


def main() -> None:
    """Measure, and print each row of the table when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", choices=ENCODERS)
    parser.add_argument("--precision", action="append", choices=list(PRECISIONS))
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=list(GEMM_SIZE))
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; use cpu")
    print(f"{args.clips} clips of {SECONDS} s, {args.rounds} rounds,", end=" ")
    print(f"{args.device}, {torch.get_num_threads()} threads\n")
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        clips = write_wavs(root, args.clips)
        for name in args.encoder or ENCODERS:
            path = write_encoder(root, name)
            silence = torch.zeros(1, RATE * SECONDS, device=args.device)
            n_operations = operations(cached_encoder(f"{name}={path}", args.device), silence)
            for precision, batch in itertools.product(args.precision or PRECISIONS, args.batch or BATCHES[args.device]):
                rounds = measure(args, root, clips, f"{name}:checkpoint={path},precision={precision}", batch)
                row = (name, f"{n_operations / 1e9:.0f}", precision, str(batch), *cells(n_operations, rounds))
                print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{FOOTER}")


if __name__ == "__main__":
    main()
