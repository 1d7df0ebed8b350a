"""Find embedders, detectors, anomalies, layouts and commands by name.

Four places, in this order: the tables of this project (one line per component), the entry points of installed
packages (groups in `KINDS`), detectors of scikit-learn and PyOD (`sklearn:IsolationForest`), and `module:Class`, which
imports a module of the current folder or an installed one. A name of the project's own tables cannot be replaced by a
package. Tables are named as text, so that nothing is imported before it is asked for, and the ground imports nothing
above it.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from featstore.errors import DataError
from featstore.spec import CLASS_PATH, LIBRARIES, LIBRARY_CLASS, kinds_of, split_spec, typed, unknown


@dataclass(frozen=True)
class Kind:
    """One kind of component: its noun, its table as `module:NAME`, its entry-point group, and what each must have.

    in_library: finds the class of `LIBRARY:CLASS`, as `module:NAME`; empty where libraries have no such components.
    """

    noun: str
    table: str
    group: str
    needs: tuple[str, ...] = ()
    in_library: str = ""


KINDS = {
    kind.noun: kind
    for kind in (
        Kind("embedder", "embedders:EMBEDDERS", "featstore.embedders", ("embed",)),
        Kind(
            "detector",
            "detectors:DETECTORS",
            "featstore.detectors",
            ("fit", "anomaly_score"),
            "detectors.libraries.classes:find_class",
        ),
        Kind("anomaly", "featstore.anomalies.table:ANOMALIES", "featstore.anomalies", ("apply",)),
        Kind("layout", "featstore.layouts.recognise:LAYOUTS", "featstore.layouts", ("read",)),
        Kind("featstore command", "featstore.cli:COMMANDS", "featstore.commands", ("invoke",)),
        Kind("detect command", "ensemble.cli:COMMANDS", "detect.commands", ("invoke",)),
    )
}

CREATORS = {"embedder": "embedders:create", "detector": "detectors:create"}
FAULT_TRANSLATOR = "embedders.networks.translation.translator:open_translator"
DEVICES = "embedders.devices:choose_device"
FAULT_READER = "embedders.pretrained.text_model:model_reader"
PROBES = {"gpu": "embedders.devices:devices_seen", "faiss": "detectors.search.faiss_backend:facts"}
"""What is found out about libraries that this package may not import."""
TENSOR_READER = "embedders.pretrained.tensor_file:read_arrays"


def names(noun: str) -> list[str]:
    """Every known name of a kind: those of the project's table in its order, then those of installed packages."""
    own = _table(noun)
    return [*own, *sorted(name for name in _installed(noun) if name not in own)]


def find(noun: str, name: str) -> Any:
    """The component called `name` (or `module:Class`), loaded; for `LIBRARY:CLASS` the class of the library.

    Raises ValueError for an unknown name, with the nearest known one, and DataError where an installed package, a
    library or a module of one's own does not load or is no component of this kind.
    """
    own = _table(noun)
    if name in own:
        return _loaded(own[name])
    if name in _installed(noun):
        return _checked(noun, name, *_from_package(noun, name))
    if in_library(noun, name):
        return _loaded(KINDS[noun].in_library)(name)
    if noun in ("embedder", "detector") and CLASS_PATH.fullmatch(name):
        return _checked(noun, name, _from_module(noun, name), name)
    raise ValueError(unknown(noun, name, _choices(noun)))


def creator(noun: str) -> Callable[..., Any]:
    """The function that makes a component of this kind from a line of text and further arguments."""
    make: Callable[..., Any] = _loaded(CREATORS[noun])
    return make


def device(choice: str) -> str:
    """The device for embedders: "cpu" and "cuda" as chosen, "auto" what this machine has.

    Raises OptionError where the machine lacks what was chosen.
    """
    chosen: str = _loaded(DEVICES)(choice)
    return chosen


def fault_reader(folder: Path) -> Callable[[str], Any]:
    """The reader of faults in words that a folder of a saved text model gives; DataError where it cannot be loaded."""
    reader: Callable[[str], Any] = _loaded(FAULT_READER)(folder)
    return reader


def fault_translator(path: Path) -> Any:
    """The translator of normal sound into confirmed faults in a checkpoint; DataError where it cannot be used.

    It has `fingerprint`, `faults` (pairs of machine and kind), and is called with (wave, rate_hz, machine, kind).
    """
    return _loaded(FAULT_TRANSLATOR)(path)


def probe(name: str) -> dict[str, Any]:
    """What a probe of PROBES finds, as JSON values; raises what its library raises."""
    facts: dict[str, Any] = _loaded(PROBES[name])()
    return facts


def tensor_reader() -> Callable[[Path, Callable[[int], None]], dict[str, Any]]:
    """The reader of files of torch.save as NumPy arrays by name, which checks their sizes with a function given."""
    reader: Callable[[Path, Callable[[int], None]], dict[str, Any]] = _loaded(TENSOR_READER)
    return reader


def is_known(noun: str, name: str) -> bool:
    """Whether a table or an installed package has the name."""
    return name in _table(noun) or name in _installed(noun)


def names_class(noun: str, spec: str) -> bool:
    """Whether a line of text names a class by its module, whose code would be run to find it."""
    known = is_known(noun, spec.partition(":")[0]) or in_library(noun, spec)
    return CLASS_PATH.fullmatch(spec) is not None and not known


def in_library(noun: str, spec: str) -> bool:
    """Whether a line of text names a class of scikit-learn or PyOD, which is looked up in a list of their detectors."""
    return bool(KINDS[noun].in_library) and LIBRARY_CLASS.fullmatch(spec) is not None


def parse(noun: str, spec: str, *, reserved: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """Name and typed parameters of a line of text (see `spec`); `reserved` parameters cannot be given in it."""
    name, pairs = split_spec(spec, noun, partial(is_known, noun))
    kinds = {key: kind for key, kind in kinds_of(find(noun, name)).items() if key not in reserved}
    return name, typed(pairs, kinds, name, f"{noun} {spec!r}")


@dataclass(frozen=True)
class Factory:
    """Makes a component from its line of text; can be sent to worker processes, which find the same classes.

    folder: where modules of one's own are looked for, besides the installed ones.
    """

    make: Callable[..., Any]
    spec: str
    arguments: tuple[Any, ...] = ()
    folder: str = ""

    def __call__(self) -> Any:
        """The component."""
        _look_in(self.folder)
        return self.make(self.spec, *self.arguments)


def factory(make: Callable[..., Any], spec: str, *arguments: Any) -> Factory:
    """A Factory that looks for modules of one's own where this process does."""
    return Factory(make, spec, arguments, str(Path.cwd()))


def _choices(noun: str) -> list[str]:
    """What a name may be, for messages."""
    return [*names(noun), *(f"{library}:CLASS" for library in LIBRARIES if KINDS[noun].in_library)]


def _table(noun: str) -> dict[str, Any]:
    table: dict[str, Any] = _loaded(KINDS[noun].table)
    return table


@cache
def _installed(noun: str) -> dict[str, list[EntryPoint]]:
    """Entry points of installed packages by name."""
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=KINDS[noun].group):
        by_name.setdefault(entry.name, []).append(entry)
    return by_name


def _from_package(noun: str, name: str) -> tuple[Any, str]:
    """The component of an installed package, and where it comes from."""
    entries = _installed(noun)[name]
    where = [f"{entry.value} of the package {entry.dist.name if entry.dist else '?'}" for entry in entries]
    if len({entry.value for entry in entries}) > 1:
        raise DataError(f"{noun} {name!r} is installed more than once: {'; '.join(where)}; uninstall all but one")
    try:
        return entries[0].load(), where[0]
    except Exception as error:
        raise DataError(f"{noun} {name!r}: {where[0]} does not load: {type(error).__name__}: {error}") from error


def _from_module(noun: str, path: str) -> Any:
    """The class of `module:Class`, from the current folder or an installed module."""
    module, _, attribute = path.partition(":")
    _look_in(str(Path.cwd()))
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise DataError(f"{noun} {path!r}: importing {module} failed: {error}") from error
        raise ValueError(
            f"{unknown(noun, module, _choices(noun))}; and there is no module {module!r} in {Path.cwd()} or among the "
            "installed ones"
        ) from None
    except AttributeError:
        raise DataError(f"{noun} {path!r}: the module {module} has no {attribute}") from None
    except Exception as error:
        raise DataError(f"{noun} {path!r}: importing {module} failed: {type(error).__name__}: {error}") from error


def _look_in(folder: str) -> None:
    """Find modules in `folder` too, after all others: nothing installed is replaced."""
    if folder and folder not in sys.path:
        sys.path.append(folder)


def _checked(noun: str, name: str, component: Any, where: str) -> Any:
    """The component, or DataError where it lacks what its kind needs; nothing of it has been called yet."""
    fields = getattr(component, "__dataclass_fields__", {})
    missing = [need for need in KINDS[noun].needs if not hasattr(component, need) and need not in fields]
    if noun in ("embedder", "detector") and not isinstance(component, type):
        raise DataError(f"{noun} {name!r}: expected a class, {where} is {type(component).__name__}")
    if missing:
        raise DataError(
            f"{noun} {name!r}: {where} lacks {', '.join(missing)}; featstore.testing says what a {noun} needs"
        )
    return component


def _loaded(target: Any) -> Any:
    """What `module:NAME` names; anything that is no text is the component itself."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
