"""A small plant on disk, in the DCASE layout, that is built, fitted and scored from its recordings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ensemble.deviation.locate import locator_of
from ensemble.fitting.fit import fit
from ensemble.recipe import Member, Recipe
from ensemble.scoring.model import Model
from ensemble.scoring.requests import typical_seconds
from ensemble.scoring.sources import Sources
from featstore.audio.policy import AudioPolicy
from featstore.build import BuildOptions, Request, build
from featstore.layouts.recognise import find_clips
from featstore.layouts.windows import windows_of
from featstore.store import FeatureStore

RATE = 16000
PITCH_HZ = {"fan": 300, "pump": 900}
DOMAIN = ("source", "source", "source", "target")
RECIPE = Recipe(
    (Member("logmel", "mahalanobis", "mean"), Member("twfr", "knn:k=1", "r0.9"), Member("logmel", "knn:k=2")),
    domains="predicted",
)


def wave(machine: str, section: str, i: int, split: str, seconds: float) -> np.ndarray:
    """A hum with noise; every second test recording has a whistle, and every fourth recording another pitch."""
    rng = np.random.default_rng([PITCH_HZ[machine], int(section), i, split == "test"])
    t = np.arange(round(seconds * RATE)) / RATE
    pitch_hz = PITCH_HZ[machine] * (1 + int(section)) * (1.3 if DOMAIN[i % 4] == "target" else 1.0)
    hum = 0.2 * np.sin(2 * np.pi * pitch_hz * t) + 0.03 * rng.normal(size=len(t))
    return hum + (0.1 * np.sin(2 * np.pi * 3700 * t) if split == "test" and i % 2 else 0.0)


@dataclass(frozen=True)
class Plant:
    """Recordings, their store and their model file."""

    root: Path
    store: FeatureStore
    model: Path

    def files(self, split: str = "test") -> list[Path]:
        """All recordings of a split, sorted."""
        return sorted(self.root.glob(f"*/{split}/*.wav"))


def plant_in(folder: Path) -> Plant:
    """A whole plant below a folder."""
    root = record(folder / "data")
    store = built(root, folder / "store")
    model_of(store, folder / "plant.model")
    return Plant(root, store, folder / "plant.model")


def record(root: Path, train: int = 12, test: int = 4, seconds: float = 0.6) -> Path:
    """The recordings of two machines, with sections 00 and 01 of the fan and 00 of the pump."""
    for machine, section in (("fan", "00"), ("fan", "01"), ("pump", "00")):
        for split, n in (("train", train), ("test", test)):
            (root / machine / split).mkdir(parents=True, exist_ok=True)
            for i in range(n):
                label = ("normal", "anomaly")[split == "test" and i % 2]
                name = f"section_{section}_{DOMAIN[i % 4]}_{split}_{label}_{i:04d}_noAttribute.wav"
                soundfile.write(root / machine / split / name, wave(machine, section, i, split, seconds), RATE)
    return root


def built(
    root: Path, store: Path, specs: dict[str, str] | None = None, policy: AudioPolicy | None = None, machine: str = ""
) -> FeatureStore:
    """A store of the recordings below a folder, of one machine or all, by the embedders of some lines of text."""
    from embedders import create
    from featstore import registry

    policy = policy or AudioPolicy()
    specs = specs or {"logmel": "logmel", "twfr": "twfr"}
    requests = [Request(name, registry.factory(create, spec)) for name, spec in specs.items()]
    clips = windows_of(root, [c for c in find_clips(root).clips if machine in ("", c.machine)], policy)
    build(root, clips, store, requests, BuildOptions(audio=policy, workers=0))
    return FeatureStore.open(store)


def model_of(
    store: FeatureStore, path: Path, recipe: Recipe = RECIPE, specs: tuple[str, ...] = (), inside: bool | None = None
) -> Model:
    """The model of a store, from its file."""
    fitted, _ = fit(store, recipe, workers=0)
    sources = Sources.of(fitted.embeddings, specs, inside=inside)
    locator, _ = locator_of(store, fitted.train, pool_sections=recipe.pool_sections)
    seconds = typical_seconds(store, fitted.evidence.embedding)
    Model(fitted, sources, seconds=seconds, locator=locator).save(path)
    return Model.load(path, device="cpu")
