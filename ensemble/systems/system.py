"""Published systems: what trains, embeds and scores in each, and the command lines that run it.

`recipes/` holds one TOML file per system; a file like these anywhere defines another system. `detect recipes` lists
them:

    title = "STgram-MFN"
    embedder = "stgram"             # trained where there is a [training] table
    output = "posterior"            # of a trained embedder; default "embedding"
    view = ""
    channel = ""                    # of the recordings, as of `featstore build --channel`; also trained on
    detector = "posterior"
    group_by = ""                   # attribute whose values are groups of the detector; "attributes" for all
    differs = "..."                 # how it differs from the publication

    [network]                       # parameters of the embedder
    [training]                      # settings of `featstore train`
    [loss]                          # name and parameters of the loss
    [pretrain]                      # settings of a pre-training; [pretrain.loss] like [loss]
    [select]                        # the detector is chosen by generated anomalies, see `Choice`
    [translator]                    # `name` of a network that learns confirmed faults for these, and its settings
    [published]                     # year, figure (the reported metrics) and source

Names of embedders, losses and settings are not checked here, but by the commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files(__package__))) / "recipes"
TABLES = ("network", "training", "loss", "pretrain")
"""Tables whose keys are checked by the commands."""

CHANNEL = "channel"
"""Key of a system, setting of its training and option of its build, which all read the same wave."""

TRANSLATOR = "translator."
"""Begins the settings of a translator among those of a system."""

GRIDS = FOLDER / "choices"
"""Candidates (`detect select --grid`) and described faults (`featstore build --described-faults`) of the systems."""


@dataclass(frozen=True)
class Published:
    """The metrics that the authors reported (`figure`), and where."""

    year: int
    figure: str
    source: str


@dataclass(frozen=True)
class Choice:
    """How generated anomalies choose the detector.

    grid: file of candidates in GRIDS, empty for the default ones. faults: file of described faults in GRIDS, empty for
    the generated anomalies of every build. strategy: as in `detect select --strategy`.
    """

    grid: str = ""
    faults: str = ""
    strategy: str = ""


@dataclass(frozen=True, eq=False)
class System:
    """One published system; the module docstring shows its file. `settings`: of the training, as for `train --set`.

    translator: network that translates normal clips into confirmed faults; translation: the settings of its training.
    """

    name: str
    title: str
    embedder: str
    detector: str
    published: Published
    output: str = "embedding"
    view: str = ""
    channel: str = ""
    group_by: str = ""
    differs: str = ""
    trained: bool = False
    select: Choice | None = None
    translator: str = ""
    network: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    translation: Mapping[str, str] = field(default_factory=dict)
