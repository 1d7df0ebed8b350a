"""The regions of a recording that deviate from normal clips of its section, as learned from a store."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ensemble.deviation.map import deviation
from ensemble.deviation.region import Region
from ensemble.deviation.regions import band_edges, regions
from ensemble.deviation.statistics import BUILD, VIEWS, NormalSound
from featstore import registry
from featstore.audio.near_far.mixes import main_channel, main_views
from featstore.building.default import DEFAULT, spec_of
from featstore.errors import DataError, RequestError
from featstore.spec import split_spec
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import counted

Bank = tuple[str, str]
"""Machine and section; section "all" where the sections of a machine are pooled."""

POOLED = "all"


class LogMel(Protocol):
    """The part of the embedder that is used here."""

    sample_rate_hz: int
    n_fft: int
    hop: int
    n_mels: int
    fmin_hz: float
    mel_scale: str
    center: bool
    min_samples: int

    @property
    def highest_hz(self) -> float: ...  # noqa: D102

    def log_mel(self, waves: np.ndarray) -> np.ndarray:
        """Float32 (batch, time) to float32 (batch, frames, mels)."""
        ...


class Locator:
    """Statistics of normal clips in every section, and the embedder whose log-mel they describe.

    spec: line of text of the embedder. channel, length: how recordings are read, see `AudioPolicy`; of an embedding
    of several mixes, the first one.
    """

    def __init__(self, normal: Mapping[Bank, NormalSound], spec: str, *, channel: str = "0", length: str = "") -> None:
        self.normal = dict(normal)
        self.spec = spec
        self.channel = channel
        self.length = length
        self.embedder: LogMel = registry.creator("embedder")(spec)
        self.edges_hz = band_edges(
            self.embedder.n_mels, self.embedder.fmin_hz, self.embedder.highest_hz, self.embedder.mel_scale
        )

    @classmethod
    def of(cls, store: FeatureStore, train: ClipTable, *, pool_sections: bool = False) -> "Locator":
        """From the rows of the normal clips `train` in the store's log-mel statistics.

        DataError where no embedding of the store has these, or lacks one of the clips.
        """
        name, spec = _log_mel_of(store)
        info = store.info(name)
        place = {key: i for i, key in enumerate(store.clips(name).keys())}
        keys = train.keys()
        missing = [key for key in keys if key not in place]
        if missing:
            raise DataError(
                f"{store.path}: {counted(len(missing), 'clip')} without a row in {name}, first {missing[0]!r}; "
                f"{BUILD} adds them"
            )
        where = np.zeros(len(place), dtype=bool)
        where[[place[key] for key in keys]] = True
        return cls.of_rows(info, spec, store.matrix(name, where), store.clips(name)[where], pool_sections=pool_sections)

    @classmethod
    def of_rows(
        cls, info: EmbeddingInfo, spec: str, rows: np.ndarray, clips: ClipTable, *, pool_sections: bool = False
    ) -> "Locator":
        """From the rows (n, views, mels) of normal clips in an embedding that `spec` makes; of the first mix."""
        views = main_views(info.channel, info.views)
        rows = rows[:, list(views.values())]
        machine, section, domain = (clips.column(column) for column in ("machine", "section", "domain"))
        section = np.full(len(clips), POOLED) if pool_sections else section
        normal = {}
        for bank in sorted(set(zip(machine.tolist(), section.tolist(), strict=True))):
            of_bank = (machine == bank[0]) & (section == bank[1])
            normal[bank] = NormalSound.of(rows[of_bank], list(views), domain=domain[of_bank])
        return cls(normal, spec, channel=main_channel(info.channel), length=info.length)

    def regions(
        self, wave: np.ndarray, machine: str, section: str, *, start_s: float = 0.0, most: int = 2
    ) -> tuple[Region, ...]:
        """Up to `most` regions of a wave (time,) at the embedder's rate, the strongest first; none if none stands out.

        start_s: the time of the first sample, for a window of a recording. A shorter wave than one window of the
        spectrogram is padded with zeros. DataError for an unknown machine or section.
        """
        first_s = start_s + (0 if self.embedder.center else self.embedder.n_fft / 2 / self.embedder.sample_rate_hz)
        hop_s = self.embedder.hop / self.embedder.sample_rate_hz
        normal = self._normal(machine, section)
        return tuple(regions(self.log_mel(wave), normal, hop_s, self.edges_hz, most=most, start_s=first_s))

    def deviation(self, wave: np.ndarray, machine: str, section: str) -> np.ndarray:
        """The deviation map (frames, mels) of a wave (time,), see `map.deviation`; its bands end at `edges_hz`."""
        return deviation(self.log_mel(wave), self._normal(machine, section))

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays for a file, `0.level` and so on: the sections are numbered in the order of `description`."""
        numbered = enumerate(self.normal.values())
        return {f"{i}.{name}": array for i, normal in numbered for name, array in normal.arrays().items()}

    def description(self) -> dict[str, Any]:
        """The description of `arrays`, as JSON has it."""
        banks = [list(bank) for bank in self.normal]
        return {"embedder": self.spec, "channel": self.channel, "length": self.length, "banks": banks}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> "Locator":
        """Inverse of `arrays` and `description`; DataError where they do not fit together."""
        texts = {name: description.get(name) for name in ("embedder", "channel", "length")}
        banks = description.get("banks")
        known = all(isinstance(text, str) for text in texts.values())
        if not known or not isinstance(banks, list) or not all(_is_bank(bank) for bank in banks):
            raise DataError("statistics of normal sound: expected texts embedder, channel, length and pairs of banks")
        spec, channel, length = (str(text) for text in texts.values())
        _refuse_own(spec)
        parts: dict[str, dict[str, np.ndarray]] = {str(i): {} for i in range(len(banks))}
        for key, array in arrays.items():
            number, _, name = key.partition(".")
            if number not in parts:
                raise DataError(f"statistics of normal sound: array {key!r} belongs to none of {len(banks)} sections")
            parts[number][name] = array
        normal = [NormalSound.from_arrays(part) for part in parts.values()]
        try:
            locator = cls(dict(zip(map(tuple, banks), normal, strict=True)), spec, channel=channel, length=length)
        except (ValueError, AttributeError) as error:
            raise DataError(f"statistics of normal sound: embedder {spec!r}: {error}") from error
        mels = {len(sound.within) for sound in normal}
        if not hasattr(locator.embedder, "log_mel") or mels - {locator.embedder.n_mels}:
            raise DataError(f"statistics of normal sound: {sorted(mels)} bands do not fit the embedder {spec!r}")
        return locator

    def _normal(self, machine: str, section: str) -> NormalSound:
        normal = self.normal.get((machine, section)) or self.normal.get((machine, POOLED))
        if normal is None:
            raise DataError(f"machine {machine!r} section {section!r} has no statistics of normal sound")
        return normal

    def log_mel(self, wave: np.ndarray) -> np.ndarray:
        """The log-mel (frames, mels) of a wave (time,) at the embedder's rate, padded with zeros to one window.

        Frames at the ends whose window is partly padding have a lower level in every clip; they are replaced by
        the nearest whole frame.
        """
        missing = max(0, self.embedder.min_samples - len(wave))
        S: np.ndarray = self.embedder.log_mel(np.pad(wave, (0, missing))[None])[0]
        partial = -(-self.embedder.n_fft // 2 // self.embedder.hop) if self.embedder.center else 0
        whole = np.arange(len(S)).clip(partial, len(S) - 1 - partial) if len(S) > 2 * partial else np.arange(len(S))
        return S[whole]


def locator_of(store: FeatureStore, train: ClipTable, *, pool_sections: bool) -> tuple[Locator | None, str]:
    """The statistics of training clips; None and the reason where the store does not allow it."""
    try:
        return Locator.of(store, train, pool_sections=pool_sections), ""
    except (DataError, RequestError, ImportError) as error:
        return None, str(error)


def _log_mel_of(store: FeatureStore) -> tuple[str, str]:
    """Name and embedder of the first embedding with the log-mel statistics."""
    lacking = ""
    for name, info in sorted(store.embeddings.items()):
        missing = [view for view in VIEWS if view not in main_views(info.channel, info.views)]
        spec = spec_of(info) if len(missing) < len(VIEWS) else ""
        if spec and not missing:
            return name, spec
        if spec:
            lacking = lacking or f"; {name} lacks {', '.join(missing)}"
    raise DataError(f"{store.path}: no embedding holds the log-mel statistics {', '.join(VIEWS)}{lacking}; {BUILD}")


def _refuse_own(spec: str) -> None:
    """DataError for an embedder that is no part of the project, before anything of it is imported."""
    try:
        name, _ = split_spec(spec, "embedder", lambda text: registry.is_known("embedder", text))
    except ValueError as error:
        raise DataError(f"statistics of normal sound: {error}") from error
    if name not in DEFAULT:
        raise DataError(f"statistics of normal sound: embedder {spec!r:.80}, expected {' or '.join(DEFAULT)}")


def _is_bank(bank: Any) -> bool:
    return isinstance(bank, Sequence) and len(bank) == 2 and all(isinstance(text, str) for text in bank)
