"""Generated anomalies: the table of everything that can be done to a normal clip so that it is one no longer.

Adding one = one function in added.py or altered.py and one line here. They stand in for real faults when detectors are
chosen without any (see variants.py for which clip gets which).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featstore import registry
from featstore.anomalies import added, altered

SHORTEST_SAMPLES = 64


@dataclass(frozen=True)
class Anomaly:
    """A transform (wave, sample_rate_hz, severity_db, rng[, donor]) -> wave, of waves without offset.

    measure: how its severity is measured, see severity.py. most_db: a strength that it reaches on nearly every clip;
    asking for more is allowed, and gives what there is. donor: the second recording it needs, if any: "section" (of
    another section), "machine" (of another machine), "recorded" (from a folder of recorded anomalies). usual: made
    unless others are asked for; the rest ranked detectors unlike real anomalies wherever that could be seen.
    """

    apply: Callable[..., np.ndarray]
    measure: str = "wave"
    most_db: float = np.inf
    donor: str = ""
    usual: bool = True


ANOMALIES: dict[str, Anomaly] = {
    "impacts": Anomaly(added.impacts),
    "squeal": Anomaly(added.squeal),
    "leak": Anomaly(added.leak),
    "bursts": Anomaly(added.bursts),
    "distortion": Anomaly(added.distortion),
    "mix": Anomaly(added.mix, donor="machine"),
    "modulation": Anomaly(altered.modulation),
    "speed": Anomaly(altered.speed, measure="spectrum", most_db=-5),
    "pitch": Anomaly(altered.pitch, measure="spectrum", most_db=-5),
    "warp": Anomaly(altered.warp, measure="spectrum", most_db=-5),
    "blockage": Anomaly(altered.blockage, most_db=-1),
    "bandstop": Anomaly(altered.bandstop, most_db=-1),
    "dropouts": Anomaly(altered.dropouts, most_db=-1),
    "stutter": Anomaly(altered.stutter, most_db=0),
    "reversed": Anomaly(altered.reversed_segments, most_db=0, usual=False),
    "shuffled": Anomaly(altered.shuffled, most_db=0, usual=False),
    "clipping": Anomaly(altered.clipping, most_db=-1),
    "statex": Anomaly(altered.statistics_exchange, most_db=-5, donor="section"),
    "recorded": Anomaly(altered.recorded, most_db=0, donor="recorded"),
}


def find(name: str) -> Anomaly:
    """The transform called `name`, of the table or of an installed package; ValueError lists the known ones."""
    anomaly: Anomaly = registry.find("anomaly", name)
    return anomaly


def render(
    name: str,
    wave: np.ndarray,
    sample_rate_hz: int,
    severity_db: float,
    *,
    rng: np.random.Generator,
    donor: np.ndarray | None = None,
) -> np.ndarray:
    """The clip with the anomaly `name`: float32 (time,), as long as `wave`, which is not changed.

    The result stays within +-1 (or the clip's own range where that is wider): what a fault would drive beyond the
    microphone's range is cut off, as a recorder does. Silence stays silence, since severity is relative to the clip.
    """
    anomaly = find(name)
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    if wave.ndim != 1 or len(wave) < SHORTEST_SAMPLES or not np.isfinite(wave).all():
        raise ValueError(f"expected a finite wave (time,) of at least {SHORTEST_SAMPLES} samples, got {wave.shape}")
    if (donor is None) == bool(anomaly.donor):
        needs = f"a donor wave from another {anomaly.donor}" if anomaly.donor else "no donor wave"
        raise ValueError(f"anomaly {name!r} takes {needs}")
    offset = wave.mean()  # is no sound, and stays as it is
    extra = () if donor is None else (np.asarray(donor, dtype=np.float32) - np.mean(donor, dtype=np.float32),)
    out = anomaly.apply(wave - offset, sample_rate_hz, severity_db, rng, *extra) + offset
    limit = max(1.0, float(np.abs(wave).max()))
    return np.asarray(np.clip(out, -limit, limit), dtype=np.float32)
