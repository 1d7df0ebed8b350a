#!/usr/bin/env python3
"""Measures how difficult the simulated plant is: scores of simple detectors per machine, and AUC per fault.

    python scripts/calibrate_simulation.py [--clips 1200] [--seed 0] [--machine fan ...]

Printed for every pooling and detector: the official score (harmonic mean of AUC source, AUC target and pAUC(0.1)); for
every machine the best AUC; for every fault its best and median AUC against all normal test clips. The detectors are
simple and independent of those in `detectors`.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import librosa
import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from featstore.plant.machines import MACHINES
from featstore.plant.plan import Plant, SimulatedClip, plan
from featstore.plant.synthesis import synthesise

GWRP_WEIGHTS = 0.9 ** np.arange(10000.0)


def pooled(plant: Plant, mel: np.ndarray, clip: SimulatedClip) -> dict[str, np.ndarray]:
    """Poolings over time of the log-mel spectrogram, each (128,)."""
    wave = synthesise(plant, clip)
    power = np.abs(librosa.stft(wave, n_fft=1024, hop_length=512, pad_mode="constant")) ** 2
    S = 10 * np.log10(np.maximum(mel @ power, 1e-10))
    ranked = -np.sort(-S, axis=1)
    weights = GWRP_WEIGHTS[: S.shape[1]]
    gwrp = ranked @ weights / weights.sum()
    mean, std = S.mean(1), S.std(1)
    return {"mean": mean, "std": std, "max": S.max(1), "gwrp": gwrp, "mean+std": np.concatenate([mean, std])}


def cosine_nearest(Z: np.ndarray, test: np.ndarray) -> np.ndarray:
    """1 - cosine similarity to the nearest training clip."""
    unit = [X / np.linalg.norm(X, axis=1, keepdims=True) for X in (Z, test)]
    return 1 - (unit[1] @ unit[0].T).max(1)


def gaussian(Z: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance, empirical covariance plus 0.1 on the diagonal."""
    precision = np.linalg.inv(np.cov(Z.T) + 0.1 * np.eye(Z.shape[1]))
    return np.einsum("nd,de,ne->n", test, precision, test)


def shrunk(Z: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance, Ledoit-Wolf covariance."""
    return np.einsum("nd,de,ne->n", test, np.linalg.inv(ledoit_wolf(Z)[0]), test)


DETECTORS = {"knn": cosine_nearest, "gauss": gaussian, "lw": shrunk}


def official(score: np.ndarray, faulty: np.ndarray, target: np.ndarray) -> float:
    """Harmonic mean of AUC source, AUC target (anomalies of both domains) and pAUC."""
    parts = [roc_auc_score(faulty[keep], score[keep]) for keep in (faulty | ~target, faulty | target)]
    parts.append(roc_auc_score(faulty, score, max_fpr=0.1))
    return 3 / sum(1 / max(part, 1e-9) for part in parts)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=Plant().clips)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--machine", action="append", choices=MACHINES)
    args = parser.parse_args()
    plant = Plant(clips=args.clips, seed=args.seed, machines=tuple(args.machine or MACHINES))
    clips = list(plan(plant))
    mel = librosa.filters.mel(sr=plant.sample_rate_hz, n_fft=1024, n_mels=128, htk=False)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        features = list(pool.map(partial(pooled, plant, mel), clips, chunksize=16))
    for machine in plant.machines:
        rows = [i for i, clip in enumerate(clips) if clip.machine == machine]
        report(machine, [clips[i] for i in rows], [features[i] for i in rows])


def report(machine: str, clips: list[SimulatedClip], features: list[dict[str, np.ndarray]]) -> None:
    """Print the metrics of one machine."""
    train = np.array([clip.split == "train" for clip in clips])
    fault = np.array([clip.fault for clip in clips])[~train]
    faulty, target = fault != "", np.array([clip.domain == "target" for clip in clips])[~train]
    scores = {}
    for pooling in features[0]:
        X = np.array([feature[pooling] for feature in features])
        Z = (X - X[train].mean(0)) / (X[train].std(0) + 1e-9)
        scores |= {(pooling, name): detect(Z[train], Z[~train]) for name, detect in DETECTORS.items()}
    overall = {key: official(score, faulty, target) for key, score in scores.items()}
    auc = {key: roc_auc_score(faulty, score) for key, score in scores.items()}
    best = max(overall, key=lambda key: overall[key])
    middle = np.median(list(overall.values()))
    print(
        f"\n{machine}: best {'/'.join(best)} {overall[best]:.3f}, median {middle:.3f}; best AUC {max(auc.values()):.3f}"
    )
    for name in DETECTORS:
        print(f"  {name:6}" + "".join(f" {pooling} {overall[pooling, name]:.3f}" for pooling in features[0]))
    for kind in MACHINES[machine].faults:
        keep = ~faulty | (fault == kind)
        aucs = {key: roc_auc_score(faulty[keep], score[keep]) for key, score in scores.items()}
        easiest = max(aucs, key=lambda key: aucs[key])
        print(
            f"  {kind:14} AUC {aucs[easiest]:.3f} by {'/'.join(easiest)}, median {np.median(list(aucs.values())):.3f}"
        )


if __name__ == "__main__":
    main()
