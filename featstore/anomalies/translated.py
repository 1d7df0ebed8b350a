"""Confirmed faults, which a trained network translates clips into: donors of the anomaly `translated`.

A donor is the text `CHECKPOINT|DIGEST|MACHINE|KIND`: file of `featstore train stargan`, first digits of its
fingerprint, and one of the faults that it learnt. Another network in the same file is refused.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featstore import registry
from featstore.anomalies.recorded import below
from featstore.anomalies.severity import blend
from featstore.errors import DataError, RejectedAudio

DIGITS = 12
"""Of the fingerprint that a donor names."""


def apply(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, donor: str) -> np.ndarray:
    """The wave moved towards its translation, up to the severity; RejectedAudio where the donor cannot be used."""
    try:
        path, digest, machine, kind = donor.rsplit("|", 3)
        translator = registry.fault_translator(Path(path))
        if not digest:
            raise DataError(f"{path}: the anomaly names no network; expected CHECKPOINT|DIGEST|MACHINE|KIND")
        if not translator.fingerprint.startswith(digest):
            raise DataError(f"{path}: holds another network than the {digest} that the anomaly names")
        return blend(wave, translator(wave, rate_hz, machine, kind), severity_db)
    except (ValueError, TypeError, RuntimeError, DataError) as error:  # a translator may be of an installed package
        raise RejectedAudio(f"donor {donor}: {error}") from error


def located(donor: str, root: Path) -> str:
    """The donor with the path of its checkpoint, which may be relative to the data root."""
    path, *rest = donor.rsplit("|", 3)
    return "|".join([str(root / path), *rest])


def donors_by_machine(path: Path, root: Path, machines: Sequence[str]) -> dict[str, list[str]]:
    """Machine -> donors, for `variants_of`; DataError for a file that has no fault of these machines."""
    translator = registry.fault_translator(path)
    head = f"{below(path, root)}|{translator.fingerprint[:DIGITS]}"
    donors: dict[str, list[str]] = {}
    for machine, kind in translator.faults:
        if machine in machines:
            donors.setdefault(machine, []).append(f"{head}|{machine}|{kind}")
    if not donors:
        known = ", ".join(sorted({machine for machine, _ in translator.faults}))
        raise DataError(f"{path}: has faults of {known or 'no machine'}; the data have {', '.join(sorted(machines))}")
    return donors
