"""A fitted recipe as a JSON object and named arrays, as a model file holds them, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors import DETECTORS, detector_spec, parse_detector
from detectors.base import Detector
from detectors.saved.state import load, save
from ensemble.deviation.locate import Locator
from ensemble.domains.correct import FittedDomains
from ensemble.domains.fitted import FittedPosterior
from ensemble.fitting.fit import refuse_together
from ensemble.fitting.fitted import Fitted
from ensemble.inputs import banks_of, width_of
from ensemble.recipe import PREDICTED, Member, Recipe, recipe_of, recipe_text
from ensemble.windows.blocks import any_windows
from featstore import registry
from featstore.disk.arrays import bytes_text, table_arrays, table_of, text_bytes
from featstore.disk.manifest import parse_info, without_name
from featstore.disk.sealed import typed
from featstore.disk.shard import EmbeddingInfo
from featstore.table import ClipTable, decode, encode


def to_stored(fitted: Fitted) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """JSON object and arrays; ValueError for a detector of one's own, whose state is unknown."""
    named = {f"{i}/{j}": each for i, own in enumerate(fitted.detectors.values()) for j, each in enumerate(own)}
    tree, arrays = save(named)
    arrays = {f"detectors/{name}": array for name, array in arrays.items()}
    arrays |= {f"rows/{name}": array for name, array in fitted.rows.items()}
    arrays |= table_arrays(fitted.train, "clips/")
    arrays["contents"] = text_bytes(encode(fitted.contents))
    if fitted.blocks is not None:
        arrays["blocks"] = fitted.blocks.astype(np.int64)
    meta: dict[str, Any] = {
        "recipe": recipe_text(fitted.recipe),
        "embeddings": {name: without_name(info) for name, info in fitted.embeddings.items()},
        "banks": [list(bank) for bank in fitted.detectors],
        "detectors": tree,
        "evidence": [fitted.evidence.embedding, fitted.evidence.view],
        "domains": None,
    }
    if fitted.domains:
        posterior, numbers = fitted.domains.posterior.arrays()
        arrays |= {f"domains/{name}": array for name, array in posterior.items()}
        meta["domains"] = {
            "views": [[view.embedding, view.view] for view in fitted.domains.views],
            "posterior": numbers,
        }
    return meta, arrays


def from_stored(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Fitted:
    """Inverse of `to_stored`.

    ValueError, KeyError, TypeError, AttributeError, RecursionError or DataError for anything that does not fit
    together. No name in it is imported.
    """
    recipe = recipe_of(typed(meta, "recipe", str))
    refuse_together(recipe)
    embeddings = {name: parse_info(name, raw) for name, raw in typed(meta, "embeddings", dict).items()}
    evidence, domain_views = _view(meta["evidence"]), [_view(pair) for pair in (meta["domains"] or {}).get("views", ())]
    for member in (*recipe.members, *domain_views, evidence):
        info = embeddings.get(member.embedding)
        if info is None or (member.view and member.view not in info.views):
            raise ValueError(f"it has no rows of {member.source}")
    train = _clips(arrays)
    rows = _part(arrays, "rows/")
    for name, info in embeddings.items():
        _check(f"rows of {name}", rows[name], (len(train), *info.shape), np.float32)
    blocks = arrays.get("blocks")
    if blocks is not None:
        _check("the blocks", blocks, (len(train),), np.int64)
    if (blocks is None) != (not recipe.group and not any_windows(train)):
        raise ValueError("its blocks are not those of its recipe")
    banks = [(machine, section) for machine, section in typed(meta, "banks", list)]
    if sorted(banks) != sorted(set(banks_of(train, recipe.pool_sections))):
        raise ValueError("its banks are not those of its training clips")
    detectors = dict(zip(banks, _detectors(meta, arrays, recipe, embeddings, len(banks)), strict=True))
    fitted = Fitted(
        recipe=recipe,
        embeddings=embeddings,
        train=train,
        blocks=blocks,
        contents=decode(bytes_text("contents", arrays["contents"], len(train))),
        rows=rows,
        honest=_honest(detectors, banks_of(train, recipe.pool_sections), len(recipe.members)),
        detectors=detectors,
        domains=_domains(meta["domains"], domain_views, _part(arrays, "domains/"), embeddings, len(train)),
        evidence=evidence,
    )
    if fitted.domains and recipe.domains != PREDICTED:
        raise ValueError("it has domains, which its recipe does not predict")
    fitted.thresholds()  # raises DataError for a model that cannot decide
    return fitted


def _detectors(
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    recipe: Recipe,
    embeddings: Mapping[str, EmbeddingInfo],
    banks: int,
) -> list[list[Detector]]:
    """The detectors of every bank, one per member; ValueError for others than the members name."""
    tree = typed(meta, "detectors", dict)
    names = [[f"{i}/{j}" for j in range(len(recipe.members))] for i in range(banks)]
    if set(tree) != {name for own in names for name in own}:
        raise ValueError("it does not hold one detector for every member and section")
    detectors = load(tree, _part(arrays, "detectors/"))
    for j, member in enumerate(recipe.members):
        kind, width = member.detector.partition(":")[0], width_of(embeddings[member.embedding], member)
        if kind not in DETECTORS and not registry.in_library("detector", member.detector):  # its name would be imported
            raise ValueError(f"{kind!r:.80} is no detector of this project")
        spec = detector_spec(*parse_detector(member.detector))
        for own in names:
            if tree[own[j]]["detector"] != spec or detectors[own[j]].n_features_ != width:  # type: ignore[attr-defined]
                raise ValueError(f"its detector {own[j]} is not {member.name} for rows of {width} values")
    return [[detectors[name] for name in own] for own in names]


def _honest(
    detectors: Mapping[tuple[str, str], Sequence[Detector]], banks: Sequence[tuple[str, str]], members: int
) -> np.ndarray:
    """Honest scores (members, n) of the training clips, whose banks are given, as their detectors hold them."""
    honest = np.empty((members, len(banks)))
    for bank, own in detectors.items():
        rows = np.flatnonzero([each == bank for each in banks])
        for i, detector in enumerate(own):
            _check(f"the honest scores of {'/'.join(bank)}", detector.reference_scores_, rows.shape, np.float64)
            honest[i, rows] = detector.reference_scores_
    return honest


def locator_to_stored(locator: Locator | None) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """Statistics of normal sound, as JSON and arrays."""
    if locator is None:
        return None, {}
    return locator.description(), {f"normal/{name}": array for name, array in locator.arrays().items()}


def locator_from_stored(description: Any, arrays: Mapping[str, np.ndarray], fitted: Fitted) -> Locator | None:
    """Inverse of `locator_to_stored`; ValueError or DataError where it does not fit the sections of a model."""
    if description is None:
        return None
    locator = Locator.from_arrays(_part(arrays, "normal/"), description)
    if set(locator.normal) != set(fitted.detectors):
        raise ValueError("its statistics of normal sound are not those of its sections")
    return locator


def _domains(
    meta: Any,
    views: Sequence[Member],
    arrays: Mapping[str, np.ndarray],
    embeddings: Mapping[str, EmbeddingInfo],
    clips: int,
) -> FittedDomains | None:
    if meta is None:
        return None
    posterior = FittedPosterior.from_arrays(arrays, meta["posterior"])
    if len(posterior.held_out) != clips:
        raise ValueError(f"its domains are those of {len(posterior.held_out)} training clips, it has {clips}")
    widths = tuple(width_of(embeddings[view.embedding], view) for view in views)
    if posterior.machines and posterior.dimensions != widths:
        raise ValueError("its domains were learned from rows of other views")
    return FittedDomains(posterior, tuple(views))


def _view(pair: Any) -> Member:
    embedding, view = pair
    if not isinstance(embedding, str) or not isinstance(view, str) or not embedding:
        raise ValueError(f"{pair!r:.80} is no embedding and view")
    return Member(embedding, "any", view)


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check(what: str, array: np.ndarray, shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype or not np.isfinite(array).all():
        kind = np.dtype(dtype)
        raise ValueError(f"{what}: expected {shape} finite {kind} values, got {array.dtype} of shape {array.shape}")


def _clips(arrays: Mapping[str, np.ndarray]) -> ClipTable:
    table = table_of(arrays, "clips/")
    if not len(table):
        raise ValueError("it has no training clips")
    return table
