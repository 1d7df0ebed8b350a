"""Published systems: what trains, embeds and scores in each, and the command lines that run it.

`recipes/` holds one TOML file per system; a file like these anywhere defines another system. `detect recipes` lists
them:

    title = "STgram-MFN"
    embedder = "stgram"             # trained where there is a [training] table
    output = "posterior"            # of a trained embedder; default "embedding"
    view = ""
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

import difflib
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from featstore.errors import DataError, reason_of
from featstore.terminal.shown import Block, block

FOLDER = Path(str(files(__package__))) / "recipes"
TABLES = ("network", "training", "loss", "pretrain")
"""Tables whose keys are checked by the commands."""

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
    group_by: str = ""
    differs: str = ""
    trained: bool = False
    select: Choice | None = None
    translator: str = ""
    network: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    translation: Mapping[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Names of the included systems."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_system(name: str) -> System:
    """An included system by name, or one from a file; DataError suggests the nearest name and lists all."""
    path = FOLDER / f"{name}.toml"
    if path.exists():
        return read_system(path)
    if Path(name).is_file():
        return read_system(Path(name))
    raise DataError(
        f"{name!r} is neither a published system nor a file{_nearest(name, names())} (known: {', '.join(names())})"
    )


def read_system(path: Path) -> System:
    """Read a system; DataError names the file and the key that is unknown, missing or of the wrong type."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable system: {reason_of(error)}") from error
    own = ("name", "trained", "settings", "translation")
    known = [field.name for field in fields(System) if field.name not in own]
    select = _choice(path, raw.pop("select")) if "select" in raw else None
    translator, translation = _translator(path, raw.pop("translator", {}), select)
    _refuse_unknown(f"{path}: the system", raw, [*known, *TABLES])
    tables = {key: raw.pop(key) for key in TABLES if key in raw}
    for key, value in tables.items():
        _refuse_unless(isinstance(value, dict), path, key, value, "a table")
    published = _published(path, raw.pop("published", {}))
    texts = _texts(path, raw)
    network = _as_settings(path, "network", tables.get("network", {}))
    trained = "training" in tables
    if not trained and {"loss", "pretrain"} & set(tables):
        raise DataError(f"{path}: [loss] and [pretrain] need a [training] table; add one, which may be empty")
    settings = {**network, **_training_settings(path, tables)} if trained else {}
    return System(
        path.stem,
        published=published,
        trained=trained,
        select=select,
        translator=translator,
        network=network,
        settings=settings,
        translation=translation,
        **texts,
    )


def commands(
    system: System,
    *,
    data: str = "DATA",
    store: str = "STORE",
    checkpoint: str = "",
    settings: tuple[str, ...] = (),
    machines: tuple[str, ...] = (),
    faults: str = "FAULTS.csv",
) -> list[list[str]]:
    """The command lines that run the system, in order, each as a list of words.

    Further `settings` (KEY=VALUE; translator.KEY=VALUE) replace those of the system. faults: file of confirmed faults,
    which a translator learns. The embedding is stored under the system's name. A
    system that chooses its detector does so for each of the `machines`, or once for all where none is named.
    """
    given = dict(item.split("=", 1) for item in settings)
    changes = {key: text for key, text in given.items() if not key.startswith(TRANSLATOR)}
    lines = []
    checkpoint = checkpoint or f"{system.name}.safetensors"
    translator = str(Path(checkpoint).with_name(f"{system.name}.{system.translator}.safetensors"))
    if system.trained:
        lines.append(_training(system.embedder, data, checkpoint, {**system.settings, **changes}))
        output = "" if system.output == "embedding" else f",output={system.output}"
        spec = f"{system.embedder}:checkpoint={checkpoint}{output}"
    else:
        values = [f"{key}={text}" for key, text in {**system.network, **changes}.items()]
        spec = f"{system.embedder}:{','.join(values)}" if values else system.embedder
    if system.translator:
        own = {key.removeprefix(TRANSLATOR): text for key, text in given.items() if key.startswith(TRANSLATOR)}
        learnt = {"faults": faults, **system.translation, **own}
        lines.append(_training(system.translator, data, translator, learnt))
    lines.append(["featstore", "build", data, store, "-e", spec, "--as", system.name])
    lines[-1] += ["--translated-faults", translator] if system.translator else []
    if system.select:
        lines[-1] += _anomalies(system.select)
        return [*lines, *(line for machine in machines or ("",) for line in _choosing(system, store, machine))]
    group = ["--group-by", system.group_by] if system.group_by else []
    return [*lines, ["detect", "run", store, "-d", system.detector, "-e", _source(system), *group]]


def _training(network: str, data: str, checkpoint: str, settings: Mapping[str, str]) -> list[str]:
    """The command that trains a network."""
    words = [word for key, text in settings.items() for word in ("--set", f"{key}={text}")]
    return ["featstore", "train", network, data, "-o", checkpoint, *words]


def _source(system: System) -> str:
    return f"{system.name}@{system.view}" if system.view else system.name


def _anomalies(choice: Choice) -> list[str]:
    """Options of the build that make the anomalies of a choice."""
    if choice.faults:
        return ["--anomalies", "6:described", "--described-faults", str(GRIDS / choice.faults)]
    return ["--anomalies", "auto"]


def _choosing(system: System, store: str, machine: str) -> list[list[str]]:
    """The commands that choose the detector for a machine, or for all, and run it."""
    assert system.select
    recipe = str(Path(store).parent / f"{system.name}{'.' if machine else ''}{machine}.toml")
    of_machine = ["--machine", machine] if machine else []
    grid = ["--grid", str(GRIDS / system.select.grid)] if system.select.grid else []
    strategy = ["--strategy", system.select.strategy] if system.select.strategy else []
    choose = ["detect", "select", store, "-e", _source(system), "-o", recipe, *grid, *strategy, *of_machine]
    return [choose, ["detect", "run", store, "--recipe", recipe, *of_machine]]


def systems_rows() -> list[list[str]]:
    """Name, year, embedder, loss, detector and short title of every included system, by year."""
    systems = sorted((find_system(name) for name in names()), key=lambda system: (system.published.year, system.name))
    return [
        [
            system.name,
            str(system.published.year),
            system.embedder,
            system.settings.get("loss", ""),
            system.detector,
            system.title.partition(":")[0],
        ]
        for system in systems
    ]


def system_text(system: System) -> Block:
    """Title, reported metrics, differences from the publication, and the commands that run the system."""
    head = [system.title, f"published {system.published.year}: {system.published.figure} ({system.published.source})"]
    if system.differs:
        head.append(f"differs from the publication: {system.differs}")
    return block(*head, "", *(shlex.join(line) for line in commands(system)))


def _training_settings(path: Path, tables: Mapping[str, Any]) -> dict[str, str]:
    """Training, loss and pre-training as settings."""
    pretrain = dict(tables.get("pretrain", {}))
    loss = pretrain.pop("loss", {})
    _refuse_unless(isinstance(loss, dict), path, "pretrain.loss", loss, "a table")
    pretrain = {**_as_settings(path, "pretrain", pretrain), **_loss_settings(path, loss)}
    return {
        **_as_settings(path, "training", tables["training"]),
        **_loss_settings(path, tables.get("loss", {})),
        **{f"pretrain.{key}": text for key, text in pretrain.items()},
    }


def _loss_settings(path: Path, table: Mapping[str, Any]) -> dict[str, str]:
    settings = _as_settings(path, "loss", table)
    if settings and "name" not in settings:
        raise DataError(f"{path}: a loss table lacks 'name'")
    return {("loss" if key == "name" else f"loss.{key}"): text for key, text in settings.items()}


def _as_settings(path: Path, name: str, table: Mapping[str, Any]) -> dict[str, str]:
    """Values of the table `name` as text for the command line."""
    expected = "text, number, true, false or a list"
    for key, value in table.items():
        _refuse_unless(isinstance(value, (bool, int, float, str, list)), path, f"{name}.{key}", value, expected)
    return {key: _text(value) for key, value in table.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _published(path: Path, table: Any) -> Published:
    _refuse_unless(isinstance(table, dict), path, "published", table, "a table")
    _refuse_unknown(f"{path}: [published]", table, [field.name for field in fields(Published)])
    for field_ in fields(Published):
        if type(table.get(field_.name)) is not field_.type:
            expected = "a whole number" if field_.type is int else "text"
            raise DataError(f"{path}: [published] needs {field_.name} = {expected}, got {table.get(field_.name)!r}")
    return Published(**table)


def _choice(path: Path, table: Any) -> Choice:
    """The table [select]; DataError for an unknown key or a file that is not in GRIDS."""
    _refuse_unless(isinstance(table, dict), path, "select", table, "a table")
    _refuse_unknown(f"{path}: [select]", table, [field.name for field in fields(Choice)])
    for key, value in table.items():
        _refuse_unless(isinstance(value, str), path, f"select.{key}", value, "text")
        if key != "strategy" and not (GRIDS / value).is_file():
            raise DataError(f"{path}: select.{key} = {value!r}, expected a file of {GRIDS}")
    return Choice(**table)


def _translator(path: Path, table: Any, select: Choice | None) -> tuple[str, dict[str, str]]:
    """Name and settings in the table [translator]; DataError where it names no network, or nothing is chosen by it."""
    _refuse_unless(isinstance(table, dict), path, "translator", table, "a table")
    if not table:
        return "", {}
    settings = _as_settings(path, "translator", table)
    name = settings.pop("name", "")
    if not name or select is None:
        raise DataError(f"{path}: [translator] needs name = a network, and a [select] table, which may be empty")
    return name, settings


def _texts(path: Path, raw: Mapping[str, Any]) -> dict[str, str]:
    """The values outside of tables; DataError where one is not text or missing."""
    for key, value in raw.items():
        _refuse_unless(isinstance(value, str), path, key, value, "text")
    for field_ in fields(System):
        if field_.type is str and field_.default is MISSING and field_.name not in (*raw, "name"):
            raise DataError(f"{path}: the system lacks {field_.name!r}")
    return dict(raw)


def _refuse_unless(fits: bool, path: Path, key: str, value: object, expected: str) -> None:
    if not fits:
        raise DataError(f"{path}: {key} = {value!r}, expected {expected}")


def _refuse_unknown(where: str, raw: Mapping[str, Any], known: list[str]) -> None:
    for key in raw:
        if key not in known:
            raise DataError(f"{where} has the unknown key {key!r}{_nearest(key, known)} (known: {', '.join(known)})")


def _nearest(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
