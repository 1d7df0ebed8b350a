"""A small stand-in for the data of DCASE 2026: its folders and file names, two channels, and tiny random BEATs."""

from pathlib import Path

import soundfile
from scored_plant import RATE
from two_microphones import stereo

HUM = {"ToyCar": "fan", "ToyDrone": "pump"}
"""The development and the evaluation machine, and the machines of the small plant that they sound like."""

TRAIN, TEST = 14, 8


def clips(machine: str) -> list[tuple[str, int, str]]:
    """Folder, number and name without suffix of every clip; test clips of the evaluation machine state nothing."""
    own = "noAttribute" if machine == "ToyCar" else "car_B1_spd_1_mic_2_mic_1"
    names = [
        ("train", i, f"section_00_{'target' if i >= TRAIN - 4 else 'source'}_train_normal_{i:04d}_{own}")
        for i in range(TRAIN)
    ]
    for i in range(TEST):
        domain, label = ("source", "target")[i // 2 % 2], ("normal", "anomaly")[i % 2]
        labelled = f"section_00_{domain}_test_{label}_{i:04d}_{own}"
        names.append(("test", i, labelled if machine == "ToyCar" else f"section_00_{i:04d}"))
    return [*names, ("supplemental", 0, "section_00_noise_supplemental_normal_0000")]


def record_dcase2026(root: Path, seconds: float = 0.6) -> Path:
    """Write dev_data and eval_data, as `featstore download dcase2026` leaves them."""
    for (machine, hum), stage in zip(HUM.items(), ("dev_data", "eval_data"), strict=True):
        for folder, i, name in clips(machine):
            path = root / stage / "raw" / machine / folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, stereo(hum, i, folder, seconds), RATE)
    return root
