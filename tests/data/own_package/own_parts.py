"""One component of every kind, as short as it can be."""

from dataclasses import dataclass

import click
import numpy as np

from embedders import fingerprint
from featstore.anomalies.table import Anomaly
from featstore.clip import Clip
from featstore.layouts.dcase import Reading
from featstore.layouts.recognise import Layout


@dataclass(frozen=True)
class Loudness:
    """Level in dB of equal parts of a recording."""

    parts: int = 4
    name = "loudness"
    sample_rate_hz = 16000
    views = ()
    min_samples = 16

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.parts,)

    @property
    def config(self) -> dict[str, object]:
        return {"parts": self.parts}

    @property
    def fingerprint(self) -> str:
        return fingerprint("Loudness", self.config)

    def embed(self, waves: np.ndarray) -> np.ndarray:
        parts = np.array_split(waves, self.parts, axis=1)
        power = np.stack([np.mean(np.square(part, dtype=np.float64), axis=1) for part in parts], axis=1)
        return (10 * np.log10(power + 1e-10)).astype(np.float32)


class Median:
    """Distance from the median of the training clips, in a norm of choice."""

    def __init__(self, *, power: float = 2.0) -> None:
        self.power = power

    def fit(self, X: np.ndarray) -> "Median":
        self.median_ = np.median(X, axis=0)
        return self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        return np.linalg.norm(X - self.median_, ord=self.power, axis=1)


def hum(wave: np.ndarray, sample_rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    tone = np.sin(2 * np.pi * 50 * np.arange(len(wave)) / sample_rate_hz + rng.uniform(0, 6))
    return wave + tone * wave.std() * np.sqrt(2) * 10 ** (severity_db / 20)


HUM = Anomaly(hum)


def read_flat(tree) -> Reading:
    """Recordings called MACHINE-NUMBER.wav in one folder; all of them normal."""
    return Reading([Clip(path, path.split("-")[0], "00", "train", label="normal") for path in tree.audio], [])


FLAT = Layout("one folder of MACHINE-NUMBER.wav", read_flat, lambda path: path.split("/")[-1].startswith("flat-"))


@click.command()
def hello() -> None:
    """Greet."""
    click.echo("hello from a package")


@click.command()
def bye() -> None:
    """Take leave."""
    click.echo("bye from a package")
