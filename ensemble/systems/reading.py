"""A system from its file: every key is checked, and errors name the file and the key."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ensemble.systems.system import GRIDS, TABLES, Choice, Published, System
from featstore.errors import DataError, reason_of
from featstore.spec import did_you_mean


def read_system(path: Path) -> System:
    """Read a system; DataError names the file and the key that is unknown, missing or of the wrong type."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # also numbers of thousands of digits
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
        if key != "strategy" and value not in {file.name for file in GRIDS.iterdir()}:
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
            raise DataError(
                f"{where} has the unknown key {key!r}{did_you_mean(key, known)} (known: {', '.join(known)})"
            )
