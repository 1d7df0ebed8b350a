"""Checks for embedders and detectors of one's own: every part of the contract that is missing, in one message.

from featstore.testing import check_detector, check_embedder
check_embedder(MFCC())
check_detector(Median)
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from featstore.building.work import channels_of

EMBEDDER = {
    "name": "text: what the embedder is called",
    "fingerprint": "text: changes with everything that changes a vector, see embedders.fingerprint",
    "sample_rate_hz": "int: recordings are resampled to it",
    "shape": "tuple: (d,), or (views, d)",
    "views": "tuple of text: one name per view, () without views",
    "config": "mapping: the parameters as plain JSON values",
    "min_samples": "int: shorter recordings are padded with zeros to it",
    "embed": "method: read-only float32 (batch, time), or (batch, n_channels, time), to float32 (batch, *shape); "
    "the batch may be 0",
}
DETECTOR = {
    "fit": "method: fit(X), optionally fit(X, domain=..., group=...), learns from normal clips (n, d) and returns self",
    "anomaly_score": "method: float64 (m,) for rows (m, d); higher is more anomalous",
}


class ContractError(AssertionError):
    """Raised with everything that a component lacks or does wrong."""

    def __init__(self, component: object, problems: list[str]) -> None:
        name = getattr(component, "__name__", type(component).__name__)
        super().__init__("\n".join([f"{name}: {len(problems)} of its contract not kept", *problems]))
        self.problems = problems


def check_embedder(embedder: Any) -> None:
    """Check an embedder against `featstore.building.work.Embedder`; ContractError lists all that is wrong."""
    _refuse(embedder, [f"lacks {name} ({what})" for name, what in EMBEDDER.items() if not hasattr(embedder, name)])
    attributes = _wrong_attributes(embedder)
    sizes = [problem for problem in attributes if problem.startswith(("sample_rate_hz", "min_samples", "shape"))]
    _refuse(embedder, [*attributes, *([] if sizes else _wrong_embeddings(embedder))])


def _wrong_attributes(embedder: Any) -> list[str]:
    """What an embedder says of itself that cannot be."""
    shape, views = embedder.shape, embedder.views
    sizes = isinstance(shape, tuple) and len(shape) in (1, 2) and all(_is_positive(size) for size in shape)
    named = len(set(views)) == len(views) == (shape[0] if sizes and len(shape) == 2 else 0)
    try:
        as_json = json.loads(json.dumps(dict(embedder.config))) == dict(embedder.config)
    except (TypeError, ValueError):
        as_json = False
    checks = {
        f"name: expected text, got {embedder.name!r}": _is_text(embedder.name),
        f"fingerprint: expected text, got {embedder.fingerprint!r}": _is_text(embedder.fingerprint),
        f"fingerprint: changes from call to call ({embedder.fingerprint!r})": embedder.fingerprint
        == embedder.fingerprint,
        f"sample_rate_hz: expected a positive int, got {embedder.sample_rate_hz!r}": _is_positive(
            embedder.sample_rate_hz
        ),
        f"min_samples: expected a positive int, got {embedder.min_samples!r}": _is_positive(embedder.min_samples),
        f"shape: expected (d,) or (views, d) of positive int, got {shape!r}": sizes,
        f"views: expected a different name for each of the views of shape {shape!r}, got {views!r}": named,
        f"config: expected plain JSON values (lists, no tuples), got {embedder.config!r}": as_json,
    }
    return [problem for problem, holds in checks.items() if not holds]


def _wrong_embeddings(embedder: Any) -> list[str]:
    """What is wrong with the embeddings of noise, silence and short waves."""
    rng = np.random.default_rng(0)
    n = max(embedder.sample_rate_hz, embedder.min_samples)
    channels = (channels_of(embedder),) if channels_of(embedder) > 1 else ()
    noise = (0.1 * rng.normal(size=(3, *channels, n))).astype(np.float32)
    before = noise.copy()
    noise.flags.writeable = False
    batch = _embedded(embedder, noise)
    if isinstance(batch, str):
        return [batch]
    problems = [] if np.array_equal(noise, before) else ["embed: changes the waves it is given; work on a copy"]
    if not np.array_equal(batch, embedder.embed(noise)):
        problems.append("embed: gives other vectors for the same waves on a second call")
    single = np.concatenate([embedder.embed(wave[None]) for wave in noise])
    scale = np.abs(batch).max() or 1.0
    if single.shape != batch.shape or not np.allclose(single, batch, rtol=1e-4, atol=1e-4 * scale):
        problems.append("embed: a clip's vector depends on the other clips of its batch")
    short = np.zeros((2, *channels, embedder.min_samples), np.float32)
    short[1, ..., 0] = 1
    empty = f"an empty batch must give shape {(0, *embedder.shape)}"
    for waves, rule in ((short, "for waves of min_samples"), (noise[:0], empty)):
        vectors = _embedded(embedder, waves)
        problems += [f"{vectors}; {rule}"] if isinstance(vectors, str) else []
    return problems


def _embedded(embedder: Any, waves: np.ndarray) -> np.ndarray | str:
    """Embeddings of waves, or what is wrong with them."""
    try:
        vectors = embedder.embed(waves)
    except Exception as error:
        return f"embed: fails on read-only float32 {waves.shape} with {type(error).__name__}: {error}"
    shape = (len(waves), *embedder.shape)
    if not isinstance(vectors, np.ndarray) or vectors.shape != shape or vectors.dtype != np.float32:
        what = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        return f"embed: expected float32 {shape}, got {what}"
    return vectors if np.isfinite(vectors).all() else "embed: gives values that are not finite"


def check_detector(make: Callable[[], Any]) -> None:
    """Check a detector, given as its class or a function that makes one; ContractError lists all that is wrong.

    Whether reference scores are honest is checked too: a training clip that lies far from all others must score high
    in `reference_scores_`, which it does not where it serves as its own neighbour.
    """
    detector = make()
    _refuse(make, [f"lacks {name} ({what})" for name, what in DETECTOR.items() if not hasattr(detector, name)])
    rng = np.random.default_rng(0)
    X = np.repeat(np.eye(2, 8), 20, axis=0) + 0.05 * rng.normal(size=(40, 8))
    X[-1] = -4 * np.eye(8)[5]
    X.flags.writeable = False
    far = -10 * np.eye(2, 8, k=3)
    try:
        if detector.fit(X) is not detector:
            _refuse(make, ["fit: expected the detector itself to be returned"])
        scores = detector.anomaly_score(X)
    except ContractError:
        raise
    except Exception as error:
        _refuse(make, [f"fit or anomaly_score: fails on read-only float64 (40, 8): {type(error).__name__}: {error}"])
    _refuse(make, _wrong_scores(detector, X, far, scores))
    _refuse(make, _wrong_reference(detector, len(X)))


def _wrong_scores(detector: Any, X: np.ndarray, far: np.ndarray, scores: Any) -> list[str]:
    """What is wrong with scores of the training clips and of clips far away."""
    if not isinstance(scores, np.ndarray) or scores.shape != (len(X),) or scores.dtype != np.float64:
        return [f"anomaly_score: expected float64 ({len(X)},), got {getattr(scores, 'dtype', type(scores))}"]
    if not np.isfinite(scores).all():
        return ["anomaly_score: gives values that are not finite"]
    problems = []
    of_far = detector.anomaly_score(far)
    if of_far.min() <= np.median(scores):
        problems.append("anomaly_score: clips far from all training clips do not score higher than these")
    if not np.allclose(detector.anomaly_score(X[::-1]), scores[::-1], rtol=1e-7, atol=1e-9):
        problems.append("anomaly_score: depends on the order of the rows")
    if not np.array_equal(detector.fit(X[:20]).fit(X).anomaly_score(far), of_far):
        problems.append("fit: a second fit does not forget the first")
    return problems


def _wrong_reference(detector: Any, n: int) -> list[str]:
    """What is wrong with the reference scores, where the detector has its own."""
    reference = getattr(detector, "reference_scores_", None)
    if reference is None:  # they are cross-fitted then
        return []
    if np.shape(reference) != (n,) or not np.isfinite(reference).all():
        return [f"reference_scores_: expected {n} finite scores, got shape {np.shape(reference)}"]
    if reference[-1] <= np.median(reference):
        return [
            "reference_scores_: a training clip far from all others does not score high; leave each clip out of what "
            "scores it, or leave reference_scores_ out and it is cross-fitted"
        ]
    return []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _refuse(component: object, problems: list[str]) -> None:
    if problems:
        raise ContractError(component, problems)
