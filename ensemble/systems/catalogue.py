"""Published systems as recipes: what trains, embeds and scores, and the command lines that do it.

One TOML file per system lies in `recipes/`; a system of one's own is such a file anywhere. `detect recipes` lists them.

    title = "STgram-MFN"
    embedder = "stgram"             # trained where there is a [training] table
    output = "posterior"            # of a trained embedder; "embedding" without it
    view = ""
    detector = "posterior"
    group_by = ""                   # attribute whose values are groups of the detector; "attributes" for all
    differs = "..."                 # from the publication

    [network]                       # parameters of the embedder
    [training]                      # settings of `featstore train`
    [loss]                          # name, and its parameters
    [pretrain]                      # settings of a pre-training; [pretrain.loss] as above
    [published]                     # year, figure and source

Nothing here knows which embedders, losses and settings exist: the commands say so.
"""

import difflib
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from featstore.errors import DataError

FOLDER = Path(str(files(__package__))) / "recipes"
TABLES = ("network", "training", "loss", "pretrain")
"""Tables of free keys, which the commands check."""


@dataclass(frozen=True)
class Published:
    """What the authors reported, and where."""

    year: int
    figure: str
    source: str


@dataclass(frozen=True, eq=False)
class System:
    """One recipe; see the head of this file. `settings` of a training in the words of `featstore train --set`."""

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
    network: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_system(name: str) -> System:
    """A shipped recipe by name, or one in a file; DataError lists the known names, with the nearest first."""
    path = FOLDER / f"{name}.toml"
    if path.exists():
        return read_system(path)
    if Path(name).is_file():
        return read_system(Path(name))
    raise DataError(f"neither a recipe nor a file: {name!r}{_near(name, names())} (known: {', '.join(names())})")


def read_system(path: Path) -> System:
    """Read a recipe; DataError names the file and the key that is unknown, missing or of the wrong type."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from error
    known = [one.name for one in fields(System) if one.name not in ("name", "trained", "settings")]
    _refuse_unknown(f"{path}: the recipe", raw, [*known, *TABLES])
    parts = {key: raw.pop(key) for key in TABLES if key in raw}
    for key, value in parts.items():
        _refuse_unless(isinstance(value, dict), path, key, value, "a table")
    published = _published(path, raw.pop("published", {}))
    texts = _texts(path, raw)
    network = _lines(path, "network", parts.get("network", {}))
    trained = "training" in parts
    if not trained and {"loss", "pretrain"} & set(parts):
        raise DataError(f"{path}: [loss] and [pretrain] belong to a training; add a [training] table, empty if need be")
    settings = {**network, **_settings(path, parts)} if trained else {}
    return System(path.stem, published=published, trained=trained, network=network, settings=settings, **texts)


def commands(
    system: System, *, data: str = "DATA", store: str = "STORE", checkpoint: str = "", settings: tuple[str, ...] = ()
) -> list[list[str]]:
    """Words of every command that runs the system, in order; further settings (KEY=VALUE) replace those of the recipe.

    The embedding is stored under the name of the system.
    """
    lines = []
    spec = system.embedder + "".join(
        f"{',' if i else ':'}{key}={text}" for i, (key, text) in enumerate(system.network.items())
    )
    if system.trained:
        checkpoint = checkpoint or f"{system.name}.safetensors"
        given = dict(system.settings) | dict(item.split("=", 1) for item in settings)
        lines.append(["featstore", "train", system.embedder, data, "-o", checkpoint])
        lines[0] += [word for key, text in given.items() for word in ("--set", f"{key}={text}")]
        output = "" if system.output == "embedding" else f",output={system.output}"
        spec = f"{system.embedder}:checkpoint={checkpoint}{output}"
    lines.append(["featstore", "build", data, store, "-e", spec, "--as", system.name])
    source = f"{system.name}@{system.view}" if system.view else system.name
    group = ["--group-by", system.group_by] if system.group_by else []
    lines.append(["detect", "run", store, "-d", system.detector, "-e", source, *group])
    return lines


def systems_rows() -> list[list[str]]:
    """Name, year, embedder, loss, detector and short title of every shipped recipe, by year."""
    found = sorted((find_system(name) for name in names()), key=lambda one: (one.published.year, one.name))
    return [
        [one.name, str(one.published.year), one.embedder, one.settings.get("loss", ""), one.detector, _head(one)]
        for one in found
    ]


def _head(system: System) -> str:
    return system.title.partition(":")[0]


def system_text(system: System) -> str:
    """What the system is, what was published, how the recipe differs, and the commands that run it."""
    head = [system.title, f"published {system.published.year}: {system.published.figure} ({system.published.source})"]
    if system.differs:
        head.append(f"differs from the publication: {system.differs}")
    return "\n".join([*head, "", *(shlex.join(line) for line in commands(system))])


def _settings(path: Path, parts: Mapping[str, Any]) -> dict[str, str]:
    """Training, loss and pre-training as KEY=VALUE settings."""
    before = dict(parts.get("pretrain", {}))
    loss = before.pop("loss", {})
    _refuse_unless(isinstance(loss, dict), path, "pretrain.loss", loss, "a table")
    return {
        **_lines(path, "training", parts["training"]),
        **_loss(path, parts.get("loss", {})),
        **{f"pretrain.{key}": text for key, text in {**_lines(path, "pretrain", before), **_loss(path, loss)}.items()},
    }


def _loss(path: Path, table: Mapping[str, Any]) -> dict[str, str]:
    texts = _lines(path, "loss", table)
    if texts and "name" not in texts:
        raise DataError(f"{path}: a loss table lacks 'name'")
    return {("loss" if key == "name" else f"loss.{key}"): text for key, text in texts.items()}


def _lines(path: Path, where: str, table: Mapping[str, Any]) -> dict[str, str]:
    """Values of a table as the command line writes them."""
    for key, value in table.items():
        _refuse_unless(
            isinstance(value, (bool, int, float, str, list)),
            path,
            f"{where}.{key}",
            value,
            "text, number, true, false or a list",
        )
    return {key: _text(value) for key, value in table.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _published(path: Path, table: Any) -> Published:
    _refuse_unless(isinstance(table, dict), path, "published", table, "a table")
    _refuse_unknown(f"{path}: [published]", table, [one.name for one in fields(Published)])
    for one in fields(Published):
        if type(table.get(one.name)) is not one.type:
            raise DataError(f"{path}: [published] needs {one.name}, a {getattr(one.type, '__name__', one.type)}")
    return Published(**table)


def _texts(path: Path, raw: Mapping[str, Any]) -> dict[str, str]:
    """The values outside of tables; DataError where one is of another type or missing."""
    for key, value in raw.items():
        _refuse_unless(isinstance(value, str), path, key, value, "text")
    for one in fields(System):
        if one.type is str and one.default is MISSING and one.name not in (*raw, "name"):
            raise DataError(f"{path}: the recipe lacks {one.name!r}")
    return dict(raw)


def _refuse_unless(fits: bool, path: Path, key: str, value: object, kind: str) -> None:
    if not fits:
        raise DataError(f"{path}: {key} = {value!r}, expected {kind}")


def _refuse_unknown(where: str, raw: Mapping[str, Any], known: list[str]) -> None:
    for key in raw:
        if key not in known:
            raise DataError(f"{where} has the unknown key {key!r}{_near(key, known)} (known: {', '.join(known)})")


def _near(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
