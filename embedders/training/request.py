"""A training as the command line states it: settings KEY=VALUE to a typed setup, and the training of what it names."""

import inspect
import typing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from embedders.losses.table import loss_parameters
from embedders.networks.checkpoint import Trained
from embedders.networks.limits import LARGEST, check_values
from embedders.networks.trained import TrainedEmbedder
from embedders.training.confirmed import with_confirmed
from embedders.training.settings import PRETRAIN, PRETRAIN_DEFAULTS, Setup, Stage, TrainConfig
from embedders.training.train import Report, train
from featstore import registry
from featstore.building.memory import keep_freed_memory
from featstore.errors import DataError, OptionError, ResourceError
from featstore.layouts.recognise import find_clips
from featstore.spec import expected, read_value, unknown

NO_MEMORY = ("allocate memory", "out of memory", "Storage size")
"""Words by which torch says that a tensor does not fit in memory."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """The options of `featstore train` under the names of the command line."""

    name: str
    data: Path
    out: Path
    settings: tuple[str, ...] = ()
    layout: str = "auto"
    machines: tuple[str, ...] = ()
    device: str = "auto"
    threads: int = 0
    readers: int = 2


def train_requested(request: TrainRequest, *, report: Report) -> Trained:
    """Train the embedder that `request` names on the normal training clips of its data, and write its checkpoint.

    Raises OptionError for settings that mean nothing, DataError where the data or the output cannot be used,
    ResourceError where memory is too small.
    """
    if request.out.exists():
        raise DataError(f"{request.out}: exists and is not overwritten; take another name, or delete it first")
    if not request.out.parent.is_dir():
        raise DataError(f"{request.out.parent}: no such folder; make it first")
    try:
        setup = parse_setup(request.name, request.settings)
    except ValueError as error:
        raise OptionError(str(error)) from error
    keep_freed_memory()
    if request.threads:
        torch.set_num_threads(request.threads)
    device = registry.device(request.device)
    listing = find_clips(request.data, request.layout)
    listed = with_confirmed(listing.clips, Path(setup.train.faults)) if setup.train.faults else listing.clips
    clips = [clip for clip in listed if not request.machines or clip.machine in request.machines]
    try:
        return train(listing.root, clips, setup, request.out, device=device, threads=request.readers, report=report)
    except ValueError as error:
        raise DataError(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in NO_MEMORY):
            raise
        raise ResourceError(
            f"{request.name}: the training does not fit in memory; use a smaller batch, shorter seconds or a smaller "
            "network"
        ) from error


def parse_setup(name: str, settings: tuple[str, ...]) -> Setup:
    """Settings KEY=VALUE sorted to network, training, loss and pre-training by their names; ValueError for others."""

    kind = registry.find("embedder", name)
    if not (isinstance(kind, type) and issubclass(kind, TrainedEmbedder)):
        raise ValueError(f"{name} is not trained: build with it at once, or train another embedder")
    items = [_split(item) for item in settings]
    before = [(key.removeprefix("pretrain."), text) for key, text in items if key.startswith("pretrain.")]
    plain = [(key, text) for key, text in items if not key.startswith(("pretrain.", "loss."))]
    network, other = _typed(plain, [_kinds(kind.config_type), _kinds(TrainConfig)])
    check_values(kind.config_type, network)
    kind.config_type(**network)  # refuses what means nothing, at once
    config = TrainConfig(**other)
    loss = _loss_values(config.loss, items)
    return Setup(kind, network, config, loss, _pretraining(config, before) if before else None)


def _pretraining(config: TrainConfig, items: list[tuple[str, str]]) -> Stage:
    """Settings of a pre-training, without their prefix, beside those it shares with the training."""
    kinds = _kinds(TrainConfig)
    plain = [(key, text) for key, text in items if not key.startswith("loss.")]
    (own,) = _typed(plain, [{key: kinds[key] for key in PRETRAIN}])
    train_config = replace(config, **PRETRAIN_DEFAULTS | own)
    return Stage(train_config, _loss_values(train_config.loss, items))


def _split(item: str) -> tuple[str, str]:
    key, mark, text = item.partition("=")
    if not (mark and text):
        raise ValueError(f"--set {item}: expected KEY=VALUE")
    return key, text


def _typed(items: list[tuple[str, str]], tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Values of settings for each of some tables of names and types; the first that knows a name gets it."""
    values: list[dict[str, Any]] = [{} for _ in tables]
    for key, text in items:
        place = next((i for i, kinds in enumerate(tables) if key in kinds), None)
        if place is None:
            raise ValueError(unknown("setting", key, [key for kinds in tables for key in kinds]))
        try:
            values[place][key] = read_value(text, tables[place][key])
        except (ValueError, KeyError):
            raise ValueError(f"--set {key}={text}: expected {expected(tables[place][key])}") from None
    return values


def _kinds(table: type) -> dict[str, Any]:
    hints = typing.get_type_hints(table)
    return {field.name: hints[field.name] for field in fields(table)}


def _loss_values(name: str, items: list[tuple[str, str]]) -> dict[str, Any]:
    """Parameters of a loss among settings, as loss.KEY, typed by their defaults."""
    known = loss_parameters(name)
    values = {}
    for key, text in items:
        if not key.startswith("loss."):
            continue
        key = key.removeprefix("loss.")
        if key not in known:
            raise ValueError(unknown(f"parameter of loss {name}", key, known))
        default = known[key]
        kind = int if default is inspect.Parameter.empty else type(default)  # what has no default is a count
        try:
            values[key] = read_value(text, kind if kind in (bool, int, float, str) else float)
        except (ValueError, KeyError):
            raise ValueError(f"--set loss.{key}={text}: expected {kind.__name__}") from None
        if isinstance(values[key], int | float) and not abs(values[key]) <= LARGEST:
            raise ValueError(f"--set loss.{key}={text:.60}: expected a number of at most {LARGEST:,.0f} in size")
    return values
