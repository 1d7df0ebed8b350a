"""The outlier detectors that scikit-learn and PyOD define: the only classes that `sklearn:CLASS` and `pyod:CLASS` name.

The names are read from the source files of the library, so that nothing is imported for a name that is not among them.
"""

import inspect
import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featstore.errors import DataError
from featstore.spec import unknown

OUTSIDE = ("contamination", "novelty", "n_features")
"""Parameters that cannot be given: the threshold is not the library's, and the other two follow from the clips."""

OF_OTHERS = "is made of other detectors, which a line of text cannot give"
TOGETHER = "compares the clips that it scores with each other, so a single clip has no score"
LABELS = "needs labels"


@dataclass(frozen=True)
class Library:
    """One library: where its detectors are, the base class that they share, and those that cannot be used here.

    distribution: name of the package to install. extra: that of this project which brings it; empty where it is always
    there. scorer, sign: the method whose values times the sign are anomaly scores. rowwise: whether a score never
    depends on the other rows of the call. skipped: beginnings of file and folder names. left_out: class names with
    reasons.
    """

    package: str
    base: str
    pattern: str
    distribution: str
    scorer: str
    sign: int
    extra: str = ""
    rowwise: bool = True
    skipped: tuple[str, ...] = ("tests",)
    left_out: Mapping[str, str] = field(default_factory=dict)


LIBRARIES = {
    "sklearn": Library("sklearn", "sklearn.base:OutlierMixin", "OutlierMixin", "scikit-learn", "score_samples", -1),
    "pyod": Library(
        "pyod.models",
        "pyod.models.base:BaseDetector",
        "Base(?:DeepLearning)?Detector",
        "pyod",
        "decision_function",
        1,
        extra="pyod",
        rowwise=False,
        # graphs, time series, and what is no vector; the last is a second SO_GAAL
        skipped=("pyg_", "ts_", "audio_", "embedding", "base", "so_gaal_new"),
        left_out={
            **dict.fromkeys(("DevNet", "XGBOD"), LABELS),
            **dict.fromkeys(("LSCP", "SUOD"), OF_OTHERS),
            **dict.fromkeys(("CD", "COF", "DIF", "LMDD", "RGraph", "ROD", "SOD", "SOS"), TOGETHER),
            "AE1SVM": "fails for a single clip",
            "MAD": "takes a single column",
        },
    ),
}


def find_class(name: str) -> type:
    """The class of `LIBRARY:CLASS`.

    ValueError for one that the library does not define or that cannot be used here, with the nearest; DataError where
    the library is not installed or its module does not load.
    """
    head, _, cls = name.partition(":")
    library = LIBRARIES[head]
    if cls in library.left_out:
        raise ValueError(f"{name} cannot be used: it {library.left_out[cls]}; choose from {_listed(head)}")
    if cls not in modules(head):
        raise ValueError(unknown(f"detector of {library.distribution}", cls, detector_names(head)))
    try:
        with redirect_stdout(io.StringIO()):  # PyOD prints what else it would like to be installed
            found = getattr(import_module(modules(head)[cls]), cls)
            module, _, base = library.base.partition(":")
            of_library = issubclass(found, getattr(import_module(module), base))
    except ImportError as error:
        raise DataError(f"{name} does not load: {error}") from error
    if not of_library:
        raise ValueError(f"{name}: expected a subclass of {library.base}; choose from {_listed(head)}")
    detector: type = found
    return detector


def detector_names(head: str) -> list[str]:
    """Class names of a library that can be used, sorted; DataError where it is not installed."""
    return sorted(set(modules(head)) - set(LIBRARIES[head].left_out), key=str.lower)


def _listed(head: str) -> str:
    return ", ".join(detector_names(head))


@cache
def modules(head: str) -> dict[str, str]:
    """Module of every detector class of a library, by class name; DataError where it is not installed."""
    library = LIBRARIES[head]
    if find_spec(head) is None:
        raise DataError(f'{library.distribution} is not installed: pip install "{install_of(head)}"')
    spec = find_spec(library.package)
    root = Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()
    defined: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not any(part.startswith(library.skipped) for part in parts):
            text = path.read_text(encoding="utf-8")
            for match in re.finditer(rf"^class ([A-Za-z]\w*)\([^)]*\b{library.pattern}\b", text, re.MULTILINE):
                defined[match[1]] = ".".join((library.package, *parts))
    return defined


def install_of(head: str) -> str:
    """What to install for a library: our package with an extra, or the library."""
    library = LIBRARIES[head]
    return f"featstore[{library.extra}]" if library.extra else library.distribution


def defaults_of(cls: type) -> dict[str, Any]:
    """Default of every parameter that can be given, in order; `inspect.Parameter.empty` where one must be.

    They are the library's, with two exceptions: random_state=0 instead of None, and nothing is printed.
    """
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and parameter.name not in OUTSIDE
    }
    if "verbose" in defaults:
        defaults["verbose"] = type(defaults["verbose"])(0)
    return defaults | ({"random_state": 0} if defaults.get("random_state", 0) is None else {})


def outside_of(cls: type, columns: int) -> dict[str, Any]:
    """Parameters that follow from the width of the rows, and from how a detector is used here."""
    known = inspect.signature(cls).parameters
    return {key: value for key, value in (("novelty", True), ("n_features", columns)) if key in known}


def version_of(name: str) -> str:
    """The library of `LIBRARY:CLASS` and its version, `scikit-learn 1.9.1`."""
    distribution = LIBRARIES[name.partition(":")[0]].distribution
    return f"{distribution} {version(distribution)}"
