"""A fitted model: load it once, then score recordings in milliseconds."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ensemble.decision.drift import ANOMALIES_AT_MOST
from ensemble.deviation.bands import bands_of
from ensemble.deviation.locate import Locator
from ensemble.fitting.fitted import Fitted
from ensemble.run import Detection
from ensemble.scoring.drift import warnings_of
from ensemble.scoring.file import read_model, write_model
from ensemble.scoring.places import place_of
from ensemble.scoring.sources import Maker, Sources
from ensemble.scoring.stored import from_stored, locator_from_stored, locator_to_stored, to_stored
from ensemble.scoring.verdict import Verdict, verdicts_of
from ensemble.scoring.waves import kept_channels, prepared
from featstore import registry
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip
from featstore.building.work import Job, Result, Task, Worker
from featstore.clip import Clip, Window, window_path
from featstore.disk.sealed import typed
from featstore.errors import AsdError, DataError, RejectedAudio
from featstore.layouts.windows import starts_of, windows_of
from featstore.table import ClipTable

MAX_SECONDS = 600.0
"""Length of a recording that is scored as one clip, as in `featstore build`."""

INVALID = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""Errors that a hostile model can cause while it is checked."""

GROUP = 32
"""Windows of a recording that are embedded together: memory does not grow with the recording."""

TRAINED = "not scored: it is a training clip of the model"
"""Why a recording whose bytes are those of a training clip is not scored."""


class Model:
    """A fitted model: embedders, detectors of every section, thresholds, and statistics of normal sound.

        model = Model.load("plant.model")
        for verdict in model.score(wave, 16000, machine="fan", section="00"):
            print(verdict.score, verdict.anomaly, verdict.sentence)

    sections: known (machine, section) pairs. seconds: length of the clips, or windows, of training. hop_s: from the
    start of one window to that of the next. The scores are those of `detect` for the same clips.
    """

    def __init__(
        self,
        fitted: Fitted,
        sources: Sources,
        *,
        seconds: float,
        locator: Locator | None = None,
        device: str = "cpu",
    ) -> None:
        self.fitted, self.sources, self.device = fitted, sources, device
        self.seconds, self.locator = seconds, locator
        self.policy = _policy(fitted)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> "Model":
        """The model in a file.

        device: auto, cpu or cuda, for embedders that use one. DataError for a file that is no model, damaged, hostile
        or of another version. Nothing in the file is run, and nothing is loaded from a network.
        """
        device = registry.device(device)
        meta, arrays = read_model(Path(path))
        try:
            fitted = from_stored(meta, arrays)
            sources = Sources.from_json(typed(meta, "sources", dict), arrays, fitted.embeddings)
            seconds = typed(meta, "seconds", float)
            if not 0 < seconds < 1e6:
                raise ValueError(f"its clips are {seconds} s long")
            locator = locator_from_stored(meta["normal"], arrays, fitted)
            return cls(fitted, sources, seconds=seconds, locator=locator, device=device)
        except (*INVALID, AsdError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            raise DataError(f"{path}: not a valid model: {what}") from error

    def located(self, verdict: Verdict, wave: Callable[[], np.ndarray]) -> Verdict:
        """The verdict with the regions that deviate most, where it is an anomaly and the model can name them.

        wave: gives the wave (time,) of the clip at the rate of `locator`.
        """
        if self.locator is None or not verdict.anomaly:
            return verdict
        try:
            regions = self.locator.regions(wave(), verdict.machine, verdict.section, start_s=verdict.start_s)
        except RejectedAudio:  # the recording has gone meanwhile
            return verdict
        return replace(verdict, where=regions)

    def save(self, path: str | Path) -> None:
        """Write the model to a file, whole or not at all."""
        try:
            meta, arrays = to_stored(self.fitted)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        description, normal = locator_to_stored(self.locator)
        meta |= {"sources": self.sources.as_json(), "seconds": float(self.seconds), "normal": description}
        write_model(Path(path), meta, {**arrays, **normal, **self.sources.arrays})

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Known machines and sections, sorted."""
        return self.fitted.train.sections()

    @property
    def hop_s(self) -> float:
        """Distance between windows in seconds; half of a clip where the model was fitted to whole recordings."""
        return self.policy.windows.hop_s if self.policy.windows else self.seconds / 2

    @property
    def window_s(self) -> float | None:
        """Length of the windows that long recordings are cut into; None where recordings are scored as a whole."""
        return self.policy.windows.window_s if self.policy.windows else None

    def section_of(self, path: str, machine: str = "", section: str = "") -> tuple[str, str]:
        """Machine and section of a recording: those given, else by its path; DataError where that is unclear."""
        if machine and section and self.knows(machine, section):
            return machine, section
        return place_of(path, self.sections, machine, section)

    def knows(self, machine: str, section: str) -> bool:
        """Whether it can score a section; if sections are pooled, every section of a known machine."""
        return (machine, "all" if self.fitted.recipe.pool_sections else section) in self.fitted.detectors

    def score(self, wave: np.ndarray, rate_hz: int, *, machine: str = "", section: str = "") -> list[Verdict]:
        """Score a recording that is in memory: one verdict, or one per window where the model has windows.

        wave: float of full scale 1, or integers, (time,) or (time, channels). rate_hz: its sample rate. machine,
        section: may be left out where the model has only one. DataError for an unknown section, RejectedAudio for a
        wave that cannot be used.
        """
        place = self.section_of("", machine, section)
        wave = kept_channels(wave, rate_hz, self.policy.mixes)
        seconds, windows = len(wave) / rate_hz, self.policy.windows
        if windows is None and self.policy.length == "native" and seconds > MAX_SECONDS:
            raise RejectedAudio(f"{seconds:.0f} s long, more than {MAX_SECONDS:g} s; score it in parts")
        starts = starts_of(seconds, windows) if windows else []
        spans = [Window(start, start + windows.window_s) for start in starts] if windows else []
        spans = spans or [Window(0.0, seconds)]
        groups = [spans[i : i + GROUP] for i in range(0, len(spans), GROUP)]
        return [verdict for group in groups for verdict in self._of_spans(wave, rate_hz, group, place)]

    def _of_spans(
        self, wave: np.ndarray, rate_hz: int, spans: Sequence[Window], place: tuple[str, str]
    ) -> list[Verdict]:
        """Verdicts of a few parts of kept channels (time, n), whose copies are in memory together."""
        parts = [wave[round(span.start_s * rate_hz) : round(span.end_s * rate_hz)] for span in spans]
        results = [self._of_wave(part, rate_hz) for part in parts]
        clips = [Clip(window_path("-", *span), *place, "test") for span in spans]
        waves = [partial(self._wave_for_map, part, rate_hz) for part in parts]
        return list(map(self.located, self.verdicts(clips, results), waves))

    def _wave_for_map(self, wave: np.ndarray, rate_hz: int) -> np.ndarray:
        """A wave at the rate of `locator`, of the first mix."""
        assert self.locator is not None
        prepared_wave = prepared(wave, rate_hz, self.locator.embedder.sample_rate_hz, self.policy, 1).wave
        return prepared_wave if prepared_wave.ndim == 1 else prepared_wave[0]

    def score_file(self, path: str | Path, *, machine: str = "", section: str = "") -> list[Verdict]:
        """Score a recording in a file, as `score`; machine and section follow from the path where they are left out."""
        machine, section = self.section_of(str(path), machine, section)
        whole = Clip(str(Path(path).absolute()), machine, section, "test")
        clips = windows_of(Path(), [whole], self.policy)
        parts = [clips[i : i + GROUP] for i in range(0, len(clips), GROUP)]
        return [verdict for part in parts for verdict in self._of_clips(part)]

    def _of_clips(self, clips: Sequence[Clip]) -> list[Verdict]:
        """Verdicts of a few clips, whose waves are in memory together."""
        results = self.worker.run(Task(tuple(clip.path for clip in clips), tuple(range(len(self.lines)))))
        by_clip = [list(of_clip) for of_clip in zip(*results, strict=True)]
        for of_clip in by_clip:
            if reason := self.refusal(of_clip):
                raise RejectedAudio(reason)
        return self.located_files(Path(), clips, self.verdicts(clips, by_clip))

    def located_files(self, root: Path, clips: Sequence[Clip], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Verdicts of clips below `root`, with the regions of those that are anomalies."""
        rate_hz = self.locator.embedder.sample_rate_hz if self.locator else 0
        waves = [partial(_read, root, clip.path, rate_hz, self.policy.main) for clip in clips]
        return list(map(self.located, verdicts, waves))

    def detect(self, clips: ClipTable, rows: Mapping[str, np.ndarray]) -> Detection:
        """Scores, decisions and evidence of clips from their rows (m, *shape) in every embedding of the model."""
        return self.fitted.detect(clips, rows)

    @cached_property
    def lines(self) -> dict[str, str]:
        """Embedding name -> line of text of its embedder; weights inside of the model are unpacked for it."""
        folder = Path(tempfile.mkdtemp(prefix="model-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return self.sources.lines(folder)

    def job(self, root: Path, batch: int = 4) -> Job:
        """The job of worker processes that embed clips below `root`."""
        create, infos = registry.creator("embedder"), self.fitted.embeddings
        makers = tuple(
            Maker(registry.factory(create, line, self.device), name, infos[name].fingerprint)
            for name, line in self.lines.items()
        )
        return Job(root, self.policy, makers, batch, embeds=self.device == "cpu")

    @cached_property
    def worker(self) -> Worker:
        """Reads and embeds in this process."""
        return Worker(replace(self.job(Path()), embeds=True))

    def rows_of(self, results: Sequence[Sequence[Result]]) -> dict[str, np.ndarray]:
        """Rows (m, *shape) in every embedding, from one result per clip and embedding, as a store would hold them."""
        rows = {}
        for number, (name, info) in enumerate(self.fitted.embeddings.items()):
            vectors = [of_clip[number].vector for of_clip in results]
            rows[name] = np.stack(vectors).astype(info.dtype).astype(np.float32)  # type: ignore[arg-type]
        return rows

    def _of_wave(self, wave: np.ndarray, rate_hz: int) -> list[Result]:
        """The vectors of one wave by every embedder."""
        results = [
            [Result(prepared(wave, rate_hz, embedder.sample_rate_hz, self.policy, embedder.min_samples))]
            for embedder in self.worker.embedders
        ]
        self.worker.embed(Task(("-",), tuple(range(len(results)))), results)
        if reason := self.refusal([of_embedder[0] for of_embedder in results]):
            raise RejectedAudio(reason)
        return [of_embedder[0] for of_embedder in results]

    def drift(self, verdicts: Sequence[Verdict], *, anomalies_at_most: float = ANOMALIES_AT_MOST) -> tuple[str, ...]:
        """Warnings if scored clips differ from the training clips, so that the stated rate does not hold."""
        return warnings_of(self.fitted, verdicts, anomalies_at_most=anomalies_at_most)

    def refusal(self, results: Sequence[Result]) -> str:
        """Why a clip cannot be scored, from its results by every embedder; empty where it can."""
        reason = next((result.reason for result in results if result.reason), "")
        recording = results[0].recording
        if not reason and recording and recording.content_hash in self.trained:
            return TRAINED
        return reason

    @cached_property
    def trained(self) -> frozenset[str]:
        """Hashes of the bytes of the training recordings."""
        return frozenset(self.fitted.contents) - {""}

    def verdicts(self, clips: Sequence[Clip], results: Sequence[Sequence[Result]]) -> list[Verdict]:
        """Verdicts of clips, from the results of each by every embedder."""
        table, rows = ClipTable.from_clips(clips), self.rows_of(results)
        spans = [clip.window or _whole(of_clip[0]) for clip, of_clip in zip(clips, results, strict=True)]
        verdicts = verdicts_of(self.detect(table, rows), spans)
        if self.locator is None:
            return verdicts
        for i, bank in enumerate(self.fitted.banks_of(table)):
            if verdicts[i].anomaly:
                own = {name: of_name[i : i + 1] for name, of_name in rows.items()}
                verdicts[i] = replace(verdicts[i], bands=bands_of(self.fitted, self.locator, bank, own))
        return verdicts


def _read(root: Path, path: str, rate_hz: int, policy: AudioPolicy) -> np.ndarray:
    return read_clip(root, path, rate_hz, policy).wave


def _policy(fitted: Fitted) -> AudioPolicy:
    """How recordings are read; DataError where the embeddings were built in different ways."""
    policies = {(info.channel, info.length) for info in fitted.embeddings.values()}
    if len(policies) > 1:
        names = ", ".join(f"{name} with --channel {i.channel} {i.length}" for name, i in fitted.embeddings.items())
        raise DataError(
            f"the embeddings of a model must be built in one way: {names}; build them again, or name one -e"
        )
    channel, length = policies.pop()
    return AudioPolicy(channel or "0", length or "native")


def _whole(result: Result) -> Window:
    recording = result.recording
    return Window(0.0, recording.n_samples / recording.sample_rate_hz if recording else 0.0)
