"""What `detect compare` was asked to compare, as one typed request."""

from dataclasses import dataclass
from pathlib import Path

from ensemble.windows.recordings import MAXIMUM, quantile_of
from featstore.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """The options of `detect compare` under the names of the command line.

    recipes, external: FILE or NAME=FILE; a recipe may also be the name of a published system.
    """

    store: Path
    out: Path
    recipes: tuple[str, ...] = ()
    ensemble: bool = False
    default: bool = False
    detectors: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    grid: Path | None = None
    external: tuple[str, ...] = ()
    baseline: str = ""
    seeds: int = 1
    replicates: int = 5000
    machines: tuple[str, ...] = ()
    year: int | None = None
    ground_truth: Path | None = None
    recording_score: str = MAXIMUM
    no_marks: bool = False
    own_code: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for options that do not go together."""
        quantile_of(self.recording_score)
        runs_detectors = self.detectors or self.grid or self.default or self.ensemble
        if self.embeddings and not runs_detectors:
            raise OptionError("-e names the embeddings of -d, --grid, --default and --ensemble; give one of them")
