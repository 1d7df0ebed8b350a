"""The styles of simulated plants by name, and their parameters from the options of a command."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from featstore.errors import DataError
from featstore.plant.individuals.dcase2020 import DCASE2020
from featstore.plant.individuals.fleet import Fleet
from featstore.plant.pair import Pair, pair_of
from featstore.plant.plan import Plant
from featstore.plant.style import DCASE2023, AnyPlant, Style

Options = Mapping[str, Any]


def fleet_of(options: Options) -> Fleet:
    """Parameters in the style of 2020; an option that is None has its default. DataError for those of 2023."""
    given = {name: value for name, value in options.items() if value is not None}
    _refuse([name for name in given if name not in Fleet.__dataclass_fields__], "dcase2023")
    return Fleet(**given)


def plant_of(options: Options) -> Plant:
    """Parameters in the style of 2023; an option that is None has its default. DataError for those of 2020."""
    given = {name: value for name, value in options.items() if value is not None}
    _refuse([name for name in given if name == "ids"], "dcase2020")
    pair = pair_of(given.pop("microphones", 1), {name: given.pop(name, None) for name in Pair.__dataclass_fields__})
    return Plant(**given, pair=pair)


def _refuse(names: list[str], style: str) -> None:
    if names:
        listed = ", ".join("--" + name.replace("_", "-") for name in names)
        raise DataError(f"{listed}: only for --style {style}; choose this style, or leave the option out")


STYLES: Mapping[str, tuple[Callable[[Options], AnyPlant], Style[Any, Any]]] = MappingProxyType(
    {"dcase2020": (fleet_of, DCASE2020), "dcase2023": (plant_of, DCASE2023)}
)
"""Name of a style -> its parameters from options, and how its plants are made."""
