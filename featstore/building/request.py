"""The options of a build as one typed request, with every check that needs no data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featstore import registry
from featstore.anomalies.far import FAR_DB
from featstore.anomalies.variants import VariantDesign
from featstore.audio.near_far.mixes import mixes_of
from featstore.audio.policy import EXAMPLE, AudioPolicy
from featstore.clip import SHORTEST_HOP_S, Windows
from featstore.disk.manifest import EMBEDDING_NAME
from featstore.errors import DataError, OptionError, RequestError

SETTLED = (
    "layout",
    "ground_truth",
    "machines",
    "anomalies",
    "recorded_anomalies",
    "described_faults",
    "fault_reader",
    "translated_faults",
    "unit_clips",
    "rehash",
    "retry_rejected",
    "prune",
)
"""Options that a plan has settled; a worker may repeat them, not change them."""


AUTO_ANOMALIES, NO_ANOMALIES = "auto", "none"
"""Values of --anomalies besides the text of a VariantDesign."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """The options of `featstore build` and `featstore plan` under the names of the command line.

    specs: embedders; empty for those of the store, or the default ones. anomalies: None for "auto" without `specs` and
    "none" with them. window, hop: length and distance of the windows that recordings are cut into, in seconds; hop None
    for half a window. length: None for "native".
    """

    data: Path
    store: Path
    specs: tuple[str, ...] = ()
    rename: str | None = None
    layout: str = "auto"
    ground_truth: Path | None = None
    machines: tuple[str, ...] = ()
    anomalies: str | None = None
    recorded_anomalies: Path | None = None
    described_faults: Path | None = None
    fault_reader: Path | None = None
    translated_faults: Path | None = None
    channel: str = "0"
    window: float | None = None
    hop: float | None = None
    length: str | None = None
    max_seconds: float = 600.0
    unit_clips: int = 512
    device: str = "auto"
    dtype: str = "float32"
    rehash: bool = False
    retry_rejected: bool = False
    prune: bool = False
    workers: int | None = None
    batch: int | None = None
    strict: bool = False
    engine: str = "local"
    address: str | None = None
    actors: int | None = None
    gpus_per_actor: float | None = None
    rank: str | None = None
    world: str | None = None
    claim: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError for options that do not go together, and for embedders that do not parse."""
        if self.rename and len(self.specs) != 1:
            raise OptionError("--as names one embedding; give a single -e with it")
        for name in ("address", "actors", "gpus_per_actor"):
            if self.engine == "local" and getattr(self, name) is not None:
                raise OptionError(f"--{name.replace('_', '-')} needs --engine ray")
        if self.engine == "ray" and self.workers is not None:
            raise OptionError("--workers are processes of this machine; on Ray give --actors")
        if self.is_share and self.engine != "local":
            raise OptionError(
                f"--engine {self.engine} shares the work itself; it cannot be combined with --claim, --rank, --world"
            )
        if self.prune and self.machines:
            raise OptionError("--prune would drop the rows of all other machines; give it without --machine")
        if self.claim and (self.rank or self.world):
            raise OptionError("--claim cannot be combined with --rank and --world")
        self._check_windows()
        if self.rename is not None and not EMBEDDING_NAME.fullmatch(self.rename):
            raise OptionError(f"--as {self.rename}: use letters, digits and ._+@=,:~- (at most 100)")
        for spec in self.specs:
            if self.specs.count(spec) > 1:
                raise OptionError(f"-e {spec} is given twice")
            try:
                registry.parse("embedder", spec)
            except ValueError as error:
                raise OptionError(str(error)) from error
        self._check_anomalies()

    def _check_anomalies(self) -> None:
        """Raise OptionError for a text of --anomalies that names no design, and for sources of none."""
        for name in ("recorded_anomalies", "described_faults", "translated_faults"):
            if getattr(self, name) and self.design == NO_ANOMALIES:
                raise OptionError(f"--{name.replace('_', '-')} needs --anomalies auto or N")
        if self.fault_reader and not self.described_faults:
            raise OptionError("--fault-reader reads the faults of --described-faults; give the file of faults too")
        if self.design not in (AUTO_ANOMALIES, NO_ANOMALIES):
            try:
                design = VariantDesign.parse(self.design)
                one = design.far_db != FAR_DB and len(mixes_of(self.channel).sources) == 1
            except DataError as error:
                raise OptionError(str(error)) from error
            if one:
                raise OptionError(
                    f"--anomalies {self.design}: ~DB is the level of a fault at the other microphones; give --channel "
                    "0-1 or 0,1 with it, or leave it out"
                )

    def _check_windows(self) -> None:
        """Raise OptionError for windows that leave out sound, are too long to be read, or contradict --length."""
        if self.hop is not None and self.window is None:
            raise OptionError("--hop is the distance of windows; give --window S with it")
        if self.length and self.length.startswith("window"):
            raise OptionError(f"--length {self.length}: windows are given as {EXAMPLE.option}")
        if self.windows is None:
            return
        if not self.windows.is_valid:
            raise OptionError(
                f"{self.windows.option}: expected seconds, the hop at least {SHORTEST_HOP_S:g} and at most the window, "
                "so that every sound is in a window"
            )
        if self.length not in (None, "native"):
            raise OptionError(f"--length {self.length} and --window cannot be combined: every window has its length")
        if self.windows.window_s > self.max_seconds:
            raise OptionError(
                f"--window {self.windows.window_s:g} is longer than --max-seconds {self.max_seconds:g}: every window "
                "would be rejected; shorten it, or increase --max-seconds"
            )

    @property
    def windows(self) -> Windows | None:
        """The windows that recordings are cut into."""
        if self.window is None:
            return None
        return Windows(self.window, self.window / 2 if self.hop is None else self.hop)

    @property
    def audio(self) -> AudioPolicy:
        """Which part of a recording is used."""
        length = self.windows.length if self.windows else self.length or "native"
        return AudioPolicy(self.channel, length, self.max_seconds)

    def with_windows(self, windows: Windows) -> "BuildRequest":
        """The request with these windows."""
        return replace(self, window=windows.window_s, hop=windows.hop_s)

    @property
    def design(self) -> str:
        """Which anomalies are generated: "auto", "none" or the text of a VariantDesign."""
        return self.anomalies or (NO_ANOMALIES if self.specs else AUTO_ANOMALIES)

    @property
    def is_share(self) -> bool:
        """Whether this is one of several workers of a plan."""
        return bool(self.claim or self.rank or self.world)

    @property
    def settled(self) -> dict[str, Any]:
        """What a plan records of its options, as JSON keeps it."""
        return {name: plain(getattr(self, name)) for name in SETTLED} | {"anomalies": self.design}

    def settled_by(self, plan_id: str, settled: Mapping[str, Any], flags: Mapping[str, str]) -> "BuildRequest":
        """The request under the options that a plan has settled.

        flags: the options given on this command line, by name. Raises RequestError where one contradicts the plan.
        """
        if "anomalies" not in settled:  # a plan of an earlier version
            settled = {**settled, "anomalies": settled.get("with_anomalies") or NO_ANOMALIES}
        for name in SETTLED:
            here, there = plain(getattr(self, name)), settled.get(name)
            if name in flags and here != there:
                raise RequestError(
                    f"{flags[name]} is {here!r} here and {there!r} in plan {plan_id}; leave it to the plan, or plan "
                    "again"
                )
        values: dict[str, Any] = {name: settled.get(name) for name in SETTLED}
        values["machines"] = tuple(values["machines"] or ())
        paths = ("ground_truth", "recorded_anomalies", "described_faults", "fault_reader", "translated_faults")
        for name in paths:
            values[name] = Path(values[name]) if values[name] else None
        return replace(self, **values)


def plain(value: Any) -> Any:
    """An option as JSON keeps it."""
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def name_in_store(spec: str) -> str:
    """Name in the store of an embedder's line of text: without the path of its weights, in letters a store allows."""
    head, mark, rest = re.match(r"([^:=]*)([:=]?)(.*)", spec, re.DOTALL).groups()  # type: ignore[union-attr]
    kept = [item for item in rest.split(",") if not item.startswith("checkpoint=")] if mark == ":" else []
    return re.sub(r"[^\w.+@=,:~-]", "+", ":".join([head, ",".join(kept)] if kept else [head]))
