"""Detectors on imported features: 136 dimensions of real MIMII clips (fan, pump, slider; ids 00, 02; 3 SNRs).

    python scripts/bench_mimii_features.py FOLDER [--work DIR]

FOLDER holds fan.npz, pump.npz, slider.npz with arrays named snr<S>_id_<NN>_<normal|abnormal>. Every other normal clip
of an id is a training clip; the rest and all abnormal clips are test clips. The features are imported with
`featstore import`, into DIR/store if --work is given. Prints AUC and pAUC in percent per machine, SNR and id.
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from detectors import DETECTORS, SPECIAL
from ensemble.output import measure, score_table
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.store import FeatureStore

NAMES = [name for name in DETECTORS if name not in SPECIAL]
NAME = re.compile(r"snr(m?-?\d+)_(id_\d\d)_(normal|abnormal)")


def write_arrays(folder: Path, out: Path) -> None:
    """Write one npy file of all rows, and the manifest with their clips."""
    rows, lines = [], []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                snr, section, label = NAME.fullmatch(name).groups()  # type: ignore[union-attr]
                for i, row in enumerate(arrays[name]):
                    split = "train" if label == "normal" and i % 2 == 0 else "test"
                    kind = "normal" if label == "normal" else "anomaly"
                    machine = f"{path.stem} {snr.replace('m', '-')} dB"
                    lines.append([f"{path.stem}/{snr}/{section}/{label}/{i:05d}.wav", machine, section, split, kind])
                    rows.append(row)
    np.save(out / "features.npy", np.array(rows, dtype=np.float32))
    with (out / "features.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "machine", "section", "split", "label"], *lines])


def main() -> None:
    """Import, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the store there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = args.work or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        write_arrays(args.folder, out)
        command = [sys.executable, "-m", "featstore.cli", "import", str(out / "store"), str(out / "features.npy")]
        subprocess.run([*command, "--as", "mimii", "--manifest", str(out / "features.csv")], check=True)
        store = FeatureStore.open(out / "store")
        metrics = {name: evaluate(store, f"{name}:standardize=true") for name in NAMES}
    print("| machine | id | " + " | ".join(NAMES) + " |")
    print("|---|---|" + "---|" * len(NAMES))
    for machine, section in sorted(next(iter(metrics.values()))):
        cells = [f"{100 * cell[0]:.1f} / {100 * cell[1]:.1f}" for cell in (metrics[n][machine, section] for n in NAMES)]
        print(f"| {machine} | {section} | " + " | ".join(cells) + " |")
    means = [np.mean(list(metrics[name].values()), axis=0) for name in NAMES]
    print("| mean | | " + " | ".join(f"{100 * auc:.1f} / {100 * pauc:.1f}" for auc, pauc in means) + " |")


def evaluate(store: FeatureStore, detector: str) -> dict[tuple[str, str], tuple[float, float]]:
    """AUC and pAUC by machine and id."""
    detection = detect(store, Recipe((Member("mimii", detector),)))
    evaluation, _ = measure(score_table(detection), detection.clips, 2020)
    return {(row.machine, row.section): (row.values["auc"], row.values["pauc"]) for row in evaluation.rows}


if __name__ == "__main__":
    main()
