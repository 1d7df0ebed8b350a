"""Candidates of a selection: every detector with every combination of its options, on every view.

Views of mixes that `ensemble.checks.subtracted` leaves out are no candidates, unless they or the mix are named.

A grid file lists detectors. An option may have several values; all combinations of all options are tried:

    embeddings = ["logmel", "twfr@r0.9"]      # default: every view of every embedding

    [[detector]]
    name = "knn"
    k = [1, 4]
    standardize = true
    pca = ["none", 20]
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from detectors import detector_spec, parse_detector
from ensemble.checks.named import sources_of
from ensemble.checks.subtracted import left_out, used_views
from ensemble.recipe import Member, refuse_own_code
from featstore.errors import DataError, reason_of
from featstore.store import FeatureStore

GRID: tuple[Mapping[str, Any], ...] = (
    {"name": "knn", "k": [1, 2, 4], "standardize": [False, True]},
    {"name": "knn", "k": [1, 4], "standardize": True, "pca": [8, 20]},
    {"name": "ldn", "standardize": [False, True]},
    {"name": "ldn", "standardize": True, "pca": 20},
    {"name": "ldn", "K": 4, "standardize": True},
    {"name": "ldn", "form": "difference", "standardize": True},
    {"name": "mahalanobis", "standardize": [False, True]},
    {"name": "mahalanobis", "covariance": "oas", "standardize": True},
    {"name": "mahalanobis", "by": "domain", "standardize": True},
    {"name": "mahalanobis", "standardize": True, "pca": [8, 20]},
    {"name": "gmm", "n_components": [1, 2], "reg_covar": [0.1, 0.01], "standardize": True},
    {"name": "gmm", "standardize": True},
    {"name": "gmm", "n_components": [1, 4], "covariance_type": "diag", "reg_covar": 0.01, "standardize": True},
    {"name": "lof", "k": [4, 20], "standardize": True},
)
"""The default grid, 30 detectors per view: nearest neighbours, local densities, and Gaussians of different freedom."""


def default_candidates(store: FeatureStore, embeddings: Sequence[str] = ()) -> list[Member]:
    """The default grid on the named embeddings, mixes or views (default: all); RequestError for an unknown one."""
    return _candidates(store, embeddings or sorted(store.embeddings), expand(GRID, "the default grid"))


def read_grid(
    path: Path, store: FeatureStore, embeddings: Sequence[str] = (), *, own_code: bool = False
) -> list[Member]:
    """Candidates of a grid file; DataError names the key, detector or option that is unknown or of the wrong type.

    RequestError for an unknown embedding or view.
    own_code: whether the file may name a detector `module:Class`, which runs the code of the module.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable grid: {reason_of(error)}") from error
    for key in raw:
        if key not in ("embeddings", "detector"):
            nearest = difflib.get_close_matches(key, ("embeddings", "detector"), n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise DataError(f"{path}: unknown key {key!r}{hint} (known: embeddings, detector)")
    named, tables = raw.get("embeddings", []), raw.get("detector", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise DataError(f"{path}: embeddings = {named!r}, expected a list of NAME, NAME@MIX or NAME@VIEW")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise DataError(f"{path}: expected at least one [[detector]] table")
    if not own_code:
        refuse_own_code(path, [str(table.get("name", "")) for table in tables])
    chosen: Sequence[str] = embeddings or named or sorted(store.embeddings)
    return _candidates(store, chosen, expand(tables, str(path)))


def with_anomalies(
    store: FeatureStore, candidates: Sequence[Member], *, perturbed: bool
) -> tuple[Sequence[Member], tuple[str, ...]]:
    """The candidates whose embeddings have generated anomalies (all where none has), and notes on the others.

    perturbed: the anomalies are made in embedding space, so no embedding lacks them. DataError for a score file then.
    """
    score_file = next((member.file for member in candidates if member.file), "")
    if perturbed and score_file:
        raise DataError(
            f"{score_file}: a score file has no scores of perturbed embeddings; leave it out, or leave out --perturb"
        )
    names = dict.fromkeys(member.embedding for member in candidates if member.embedding)
    lacking = [] if perturbed else [name for name in names if store.clips(name).where(variant="").all()]
    if len(lacking) in (0, len(names)):
        return candidates, ()
    cure = "featstore build --anomalies auto, with its -e as before, makes them"
    notes = tuple(f"{name} has no generated anomalies and is left out; {cure}" for name in lacking)
    return [member for member in candidates if member.embedding not in lacking], notes


def expand(tables: Iterable[Mapping[str, Any]], where: str) -> list[str]:
    """Detector specs (`knn:k=4,standardize=true`) of all combinations of the tables' options, each once, in order.

    `where` names the source of the tables in a DataError.
    """
    specs: dict[str, None] = {}
    for table in tables:
        name = table.get("name")
        if not isinstance(name, str):
            raise DataError(f"{where}: a [[detector]] table needs a name, got {name!r}")
        options: dict[str, list[Any]] = {
            key: value if isinstance(value, list) else [value] for key, value in table.items() if key != "name"
        }
        for key, values in options.items():
            if not values or not all(isinstance(value, (str, int, float)) for value in values):
                raise DataError(f"{where}: {name}: {key} = {values!r}, expected one or more numbers, texts or booleans")
        for combination in product(*options.values()):
            text = ",".join(f"{key}={_text(value)}" for key, value in zip(options, combination, strict=True))
            try:
                parsed = parse_detector(f"{name}:{text}" if text else name)
            except ValueError as error:
                raise DataError(f"{where}: {error}") from error
            specs[detector_spec(*parsed)] = None
    return list(specs)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _candidates(store: FeatureStore, embeddings: Iterable[str], detectors: Sequence[str]) -> list[Member]:
    sources: dict[tuple[str, str], None] = {}
    texts = list(embeddings)
    without = left_out(store, texts)
    for text in texts:
        whole = text in store.embeddings
        used = ((text, view) for view in used_views(store.info(text), without)) if whole else sources_of(store, text)
        sources |= dict.fromkeys(used)
    if not sources:
        raise DataError(f"{store.path}: no embeddings; fill it with `featstore build`")
    return [
        Member(name, detector, view, fingerprint=store.info(name).fingerprint)
        for name, view in sources
        for detector in detectors
    ]
