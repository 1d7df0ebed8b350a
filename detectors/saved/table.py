"""What each class of detectors learns: its attributes, their kinds, and what must hold between them.

A new detector needs an entry in LEARNED, and a new learned attribute a line in its entry. Everything that ends in `_`
is kept. The claims are what `_score` relies on: with a state for which they hold, it reads within its arrays.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from detectors.banks.bands import Bands
from detectors.covariance import Precision
from detectors.density import LDN
from detectors.gmm import GMM
from detectors.knn import KNN
from detectors.libraries.classes import version_of
from detectors.libraries.wrapped import Trained, Wrapped
from detectors.lof import LOF
from detectors.mahalanobis import Mahalanobis
from detectors.mixtures.mixture import Mixture, Span
from detectors.posterior import Posterior
from detectors.preprocess import Preprocessed, Whitening
from detectors.residual import Residual
from detectors.saved.kinds import (
    FLOATS,
    INTEGERS,
    POSITIVE,
    Array,
    Claim,
    Given,
    Kind,
    Many,
    Maybe,
    Plain,
    Record,
    Stored,
    read_fields,
    shaped,
)
from detectors.search.neighbours import Bank


def _triangle(precision: Precision) -> Iterator[Claim]:
    yield "cholesky", _is_triangle(precision.cholesky.T), "a lower triangle (d, d) with a positive diagonal"


def _is_triangle(upper: np.ndarray) -> bool:
    """Whether a matrix is square, with a positive diagonal and zeros below it."""
    square = upper.shape == (len(upper),) * 2 and len(upper) > 0
    return square and bool((upper.diagonal() > 0).all()) and not np.tril(upper, -1).any()


def _whitening(whitening: Whitening) -> Iterator[Claim]:
    yield shaped("scale", whitening.scale, whitening.mean.shape)
    if whitening.axes is not None:
        d, p = whitening.axes.shape
        yield "axes", d == len(whitening.mean) and p > 0, f"{len(whitening.mean)} rows and a column, got {d, p}"


def _mixture(mixture: Mixture) -> Iterator[Claim]:
    span, (k, r), d = mixture.span, mixture.inner_means.shape, len(mixture.span.centre)
    yield "inner_means", k > 0 and 0 < r <= d, f"a row, and from 1 to {d} columns, got {k, r}"
    if span.basis is None:
        yield "inner_means", r == d, f"{d} columns, got {r}"
    else:
        yield shaped("span.basis", span.basis, (d, r))
        yield "span.floor", span.floor > 0, "a positive number beside a basis"
    yield shaped("weights", mixture.weights, (k,))
    if mixture.covariance_type == "diag":
        yield shaped("factors", mixture.factors, (k, r))
        return
    count = 1 if mixture.covariance_type == "tied" else k
    yield "factors", len(mixture.factors) == count, f"{count} matrices, got {len(mixture.factors)}"
    for factor in mixture.factors:
        yield shaped("factors", factor, (r, r))
        yield "factors", _is_triangle(factor), "upper triangles with a positive diagonal"


COSINE_BANK = Record(partial(Bank.of, metric="cosine"), {"rows": Array(2, FLOATS, finite=False)})
VARMIN_BANK = Record(partial(Bank.of, metric="cosine"), {"rows": Array(2, FLOATS, finite=False), "offset": Array(1)})
EUCLIDEAN_BANK = Record(partial(Bank.of, metric="euclidean"), {"rows": Array(2, finite=False)})
PRECISION = Record(Precision, {"cholesky": Array(2)}, _triangle)
WHITENING = Record(
    Whitening, {"mean": Array(1), "scale": Array(1, least=POSITIVE), "axes": Maybe(Array(2))}, _whitening
)
SPAN = Record(Span, {"centre": Array(1), "basis": Maybe(Array(2)), "floor": Plain(float)})
FACTORS: dict[str, Kind] = {
    "full": Many(Array(2)),
    "tied": Many(Array(2), tuple),
    "diag": Array(2, least=POSITIVE),
}
MIXTURES: dict[str, Kind] = {
    covariance_type: Record(
        partial(Mixture, covariance_type=covariance_type),
        {
            "span": SPAN,
            "weights": Array(1, least=POSITIVE),
            "inner_means": Array(2),
            "factors": factors,
            "lower_bound": Plain(float),
            "iterations": Plain(int),
            "converged": Plain(bool),
        },
        _mixture,
    )
    for covariance_type, factors in FACTORS.items()
}


@dataclass(frozen=True)
class Part:
    """A detector within another, which gives its parameters: `template` is such a detector before it has learned."""

    template: Any

    def write(self, value: Any, arrays: Stored) -> dict[str, Any]:
        """Learned attributes as their kinds."""
        return {name: kind.write(getattr(value, name), arrays) for name, kind in learned(value).items()}

    def read(self, node: Any, where: str, arrays: Given) -> Any:
        """A copy of the template that has learned."""
        detector = copy.copy(self.template)
        for name, value in read_fields(learned(detector), node, where, arrays).items():
            setattr(detector, name, value)
        return detector


def _knn_learned(detector: KNN) -> dict[str, Kind]:
    if detector.bands == 1:
        bank = VARMIN_BANK if detector.varmin else COSINE_BANK
        return {"banks_": Many(bank), "bank_rows_": Many(Array(1, INTEGERS, least=-1))}
    of_band = copy.copy(detector)
    of_band.bands = 1
    fields: dict[str, Kind] = {"detectors": Many(Part(of_band), tuple), "spread": Array(1, least=POSITIVE)}
    return {"bands_": Record(Bands, fields)}


def _knn(detector: KNN, width: int) -> Iterator[Claim]:
    if detector.bands > 1:
        yield "bands_", width % detector.bands == 0, f"{width} dimensions for {detector.bands} equal bands"
        yield shaped("bands_.spread", detector.bands_.spread, (detector.bands,))
        count = len(detector.bands_.detectors)
        yield "bands_.detectors", count == detector.bands, f"{detector.bands} detectors, got {count}"
        for i, of_band in enumerate(detector.bands_.detectors):
            yield from _within(f"bands_.detectors[{i}]", of_band, width // detector.bands)
        return
    yield "banks_", len(detector.banks_) > 0, "a bank, got none"
    yield "bank_rows_", len(detector.bank_rows_) == len(detector.banks_), f"{len(detector.banks_)} arrays"
    for i, (bank, rows) in enumerate(zip(detector.banks_, detector.bank_rows_, strict=True)):
        yield f"banks_[{i}]", bank.rows.shape[1] == width, f"{width} dimensions, got {bank.rows.shape[1]}"
        yield shaped(f"bank_rows_[{i}]", rows, (len(bank.rows),))


def _gmm(detector: GMM, width: int) -> Iterator[Claim]:
    span = detector.mixture_.span
    yield shaped("mixture_.span.centre", span.centre, (width,))
    yield "mixture_.span.floor", span.floor == detector.reg_covar, f"reg_covar={detector.reg_covar}, got {span.floor}"
    yield _below("cluster_", detector.cluster_, len(detector.mixture_.weights))


def _mahalanobis(detector: Mahalanobis, width: int) -> Iterator[Claim]:
    count = len(detector.centres_)
    yield shaped("centres_", detector.centres_, (max(count, 1), width))
    yield "precisions_", len(detector.precisions_) == count, f"{count} matrices, got {len(detector.precisions_)}"
    yield from _precisions(detector, width)


def _precisions(detector: Any, width: int) -> Iterator[Claim]:
    yield "precisions_", len(detector.precisions_) > 0, "a matrix, got none"
    for i, precision in enumerate(detector.precisions_):
        yield shaped(f"precisions_[{i}].cholesky", precision.cholesky, (width, width))


def _ldn(detector: LDN, width: int) -> Iterator[Claim]:
    n = len(detector.bank_)
    yield shaped("bank_", detector.bank_, (max(n, 1), width))
    yield shaped("rho_", detector.rho_, (n,))
    yield "rho_", detector.form != "ratio" or bool((detector.rho_ > 0).all()), "positive values for form=ratio"
    yield shaped("copies_", detector.copies_, (n,))
    yield _below("copy_of_", detector.copy_of_, n)
    yield _below("neighbours_", detector.neighbours_, n)
    yield shaped("neighbours_", detector.neighbours_, (n, detector.neighbours_.shape[1]))
    yield shaped("neighbour_distance_", detector.neighbour_distance_, detector.neighbours_.shape)


def _lof(detector: LOF, width: int) -> Iterator[Claim]:
    n, d = detector.bank_.rows.shape
    yield "bank_", d == width, f"{width} dimensions, got {d}"
    yield shaped("k_distance_", detector.k_distance_, (n,))
    yield shaped("density_", detector.density_, (n,))


def _posterior(detector: Posterior, width: int) -> Iterator[Claim]:
    yield "class_", 0 <= detector.class_ < width, f"a column from 0 to {width - 1}, got {detector.class_}"


def _trained(detector: Wrapped) -> dict[str, Kind]:
    make = partial(Trained, detector.name, detector.parameters)
    return {"trained_": Record(make, {"rows": Array(2, FLOATS), "version": Plain(str)})}


def _wrapped(detector: Wrapped, width: int) -> Iterator[Claim]:
    rows, version, installed = detector.trained_.rows, detector.trained_.version, version_of(detector.name)
    yield shaped("trained_.rows", rows, (max(len(rows), 1), width))
    again = "it is fitted to the stored rows again, which needs the same version; fit the model again"
    yield "trained_.version", version == installed, f"{installed}, which is installed, got {version[:40]!r}: {again}"


def _preprocessed(detector: Preprocessed, width: int) -> Iterator[Claim]:
    axes = detector.whitening_.axes
    yield shaped("whitening_.mean", detector.whitening_.mean, (width,))
    components = width if axes is None else axes.shape[1]
    yield "whitening_.axes", axes is None or components <= (detector.pca or 0), f"at most pca={detector.pca} columns"
    yield from _within("detector_", detector.detector_, components)


def _within(name: str, detector: Any, width: int) -> Iterator[Claim]:
    """Claims about a detector within another."""
    for attribute, holds, expected in claims(detector, width):
        yield f"{name}.{attribute}", holds, expected


def _below(name: str, numbers: np.ndarray, n: int) -> Claim:
    largest = int(numbers.max(initial=-1))
    return name, largest < n, f"numbers below {n}, got {largest}"


@dataclass(frozen=True)
class Learned:
    """What a class learns: attributes for a detector's parameters, and claims for the dimensions of its rows."""

    attributes: Callable[[Any], Mapping[str, Kind]]
    claims: Callable[[Any, int], Iterable[Claim]]


def _always(**attributes: Kind) -> Callable[[Any], Mapping[str, Kind]]:
    return lambda detector: attributes


_NUMBERS, _INLIERS, _DISTANCES = Array(1, INTEGERS, least=0), Array(1, ("bool",)), Array(1, least=0.0)

LEARNED: dict[type, Learned] = {
    KNN: Learned(_knn_learned, _knn),
    GMM: Learned(lambda detector: {"mixture_": MIXTURES[detector.covariance_type], "cluster_": _NUMBERS}, _gmm),
    Mahalanobis: Learned(_always(centres_=Array(2), precisions_=Many(PRECISION), inliers_=_INLIERS), _mahalanobis),
    LDN: Learned(
        _always(
            bank_=Array(2),
            copy_of_=_NUMBERS,
            copies_=_NUMBERS,
            neighbours_=Array(2, INTEGERS, least=0),
            neighbour_distance_=Array(2, least=0.0),
            rho_=_DISTANCES,
        ),
        _ldn,
    ),
    LOF: Learned(_always(bank_=EUCLIDEAN_BANK, k_distance_=_DISTANCES, density_=_DISTANCES), _lof),
    Residual: Learned(_always(precisions_=Many(PRECISION)), _precisions),
    Posterior: Learned(_always(class_=Plain(int)), _posterior),
    Wrapped: Learned(_trained, _wrapped),
    Preprocessed: Learned(
        lambda detector: {"whitening_": WHITENING, "detector_": Part(detector.detector)}, _preprocessed
    ),
}
"""By class, exactly: a subclass may learn more."""


def learned(detector: Any) -> Mapping[str, Kind]:
    """Learned attributes of a detector; ValueError for a class that is not in the table."""
    return _entry(detector).attributes(detector)


def claims(detector: Any, width: int) -> Iterable[Claim]:
    """What must hold for rows of `width` dimensions."""
    return _entry(detector).claims(detector, width)


def _entry(detector: Any) -> Learned:
    if type(detector) not in LEARNED:
        name = type(getattr(detector, "detector", detector)).__name__
        raise ValueError(
            f"{name}: a detector of one's own (module:Class) cannot be saved; use one of the detectors of this project"
        )
    return LEARNED[type(detector)]
