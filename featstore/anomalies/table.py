"""Generated anomalies: the table of transforms that turn a normal clip into an anomaly.

They replace real faults when detectors are chosen without any (variants.py assigns transforms to clips). A new one
needs one function in added.py or altered.py and one line here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featstore import registry
from featstore.anomalies import added, altered, chain, translated

SHORTEST_SAMPLES = 64


@dataclass(frozen=True)
class Anomaly:
    """A transform (wave, sample_rate_hz, severity_db, rng[, donor]) -> wave, for waves without DC offset.

    measure: how its severity is measured, see severity.py. max_db: the severity that it reaches on nearly every clip; a
    higher request gives the strongest possible change. donor: what else it needs: "" (nothing), a second recording
    "section" (of another section), "machine" (of another machine) or "recorded" (from a folder of recorded anomalies),
    "described" (the text of a chain, see chain.py), or "translated" (a text, see translated.py). default: whether it is
    made when no transforms are named; those that are not ranked detectors differently from real anomalies.
    """

    apply: Callable[..., np.ndarray]
    measure: str = "wave"
    max_db: float = np.inf
    donor: str = ""
    default: bool = True


ANOMALIES: dict[str, Anomaly] = {
    "impacts": Anomaly(added.impacts),
    "squeal": Anomaly(added.squeal),
    "leak": Anomaly(added.leak),
    "bursts": Anomaly(added.bursts),
    "distortion": Anomaly(added.distortion),
    "mix": Anomaly(added.mix, donor="machine"),
    "modulation": Anomaly(altered.modulation),
    "speed": Anomaly(altered.speed, measure="spectrum", max_db=-5),
    "pitch": Anomaly(altered.pitch, measure="spectrum", max_db=-5),
    "warp": Anomaly(altered.warp, measure="spectrum", max_db=-5),
    "blockage": Anomaly(altered.blockage, max_db=-1),
    "bandstop": Anomaly(altered.bandstop, max_db=-1),
    "dropouts": Anomaly(altered.dropouts, max_db=-1),
    "stutter": Anomaly(altered.stutter, max_db=0),
    "reversed": Anomaly(altered.reversed_segments, max_db=0, default=False),
    "shuffled": Anomaly(altered.shuffled, max_db=0, default=False),
    "clipping": Anomaly(altered.clipping, max_db=-1),
    "statex": Anomaly(altered.statistics_exchange, max_db=-5, donor="section"),
    "recorded": Anomaly(altered.recorded, max_db=0, donor="recorded"),
    "described": Anomaly(chain.apply, max_db=-5, donor="described"),
    "translated": Anomaly(translated.apply, max_db=-5, donor="translated"),
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
    donor: np.ndarray | str | None = None,
) -> np.ndarray:
    """The clip with the anomaly `name`, float32 (time,), as long as `wave`.

    The result is clipped to +-1, or to the range of the clip where that is wider, as a recorder would clip it. Silence
    stays silence, since severity is relative to the clip. The DC offset is unchanged.
    """
    anomaly = find(name)
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    if wave.ndim != 1 or len(wave) < SHORTEST_SAMPLES or not np.isfinite(wave).all():
        raise ValueError(f"expected a finite wave (time,) of at least {SHORTEST_SAMPLES} samples, got {wave.shape}")
    if (donor is None) == bool(anomaly.donor):
        needs = f"a donor ({anomaly.donor})" if anomaly.donor else "no donor"
        raise ValueError(f"anomaly {name!r} takes {needs}")
    offset = wave.mean()
    out = anomaly.apply(wave - offset, sample_rate_hz, severity_db, rng, *_extra(donor)) + offset
    limit = max(1.0, float(np.abs(wave).max()))
    return np.asarray(np.clip(out, -limit, limit), dtype=np.float32)


def _extra(donor: np.ndarray | str | None) -> tuple[np.ndarray | str, ...]:
    """Further arguments of a transform: a wave without its DC offset, or a text."""
    if donor is None or isinstance(donor, str):
        return () if donor is None else (donor,)
    return (np.asarray(donor, dtype=np.float32) - np.mean(donor, dtype=np.float32),)
