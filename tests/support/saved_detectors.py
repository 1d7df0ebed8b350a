"""Fitted detectors of every kind and option, and a saved state as it comes out of a file."""

import json

import numpy as np

from detectors import DETECTORS, create
from ensemble.defaults import DETECTORS as DEFAULTS
from ensemble.selection.candidates import GRID, expand
from ensemble.systems.catalogue import find_system, names

OPTIONS = (
    "knn:k=3,bank=two_bank",
    "knn:source_clusters=4",
    "knn:source_clusters=4,smote=0.5",
    "knn:memmixup=5",
    "knn:bands=2,k=2,bank=two_bank,smote=0.5",
    "knn:bands=3,standardize=true",
    "knn:varmin=4",
    "knn:bands=3,varmin=2,k=2,bank=two_bank",
    "gmm:score=mixture,covariance_type=tied,n_components=3",
    "gmm:score=mixture,covariance_type=diag,standardize=true",
    "gmm:start=domain,smote=0.5,covariance_type=tied",
    "gmm:start=group,covariance_type=diag,unit_length=true",
    "gmm:start=group,pca=3",
    "mahalanobis:centre=geometric_median,by=domain,covariance=oas",
    "mahalanobis:by=domain,covariance=empirical,pca=2",
    "mahalanobis:by=group,trim=0.05",
    "ldn:K=2,form=difference",
    "ldn:K=100",
    "ldn:K=5,exit=1.2",
    "residual:score=mean",
    "residual:pca=2,standardize=true",
    "posterior:score=odds",
    "posterior:score=likelihood",
)
OF_SYSTEMS = (find_system(name).detector.replace("bands=8", "bands=4") for name in names())  # 8 do not divide 12
SPECS = tuple(dict.fromkeys((*DETECTORS, *OPTIONS, *DEFAULTS, *expand(GRID, "grid"), *OF_SYSTEMS)))
SHAPES = {"many": (70, 12), "wide": (15, 36), "equal": (30, 12), "single": (1, 12)}
"""Rows and dimensions; a wide matrix gives a mixture a basis, equal rows give a bank of one."""


def clips(shape: str, dtype: type) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    n, d = SHAPES[shape]
    X = np.random.default_rng(1).normal(size=(n, d)).astype(dtype)
    if shape == "equal":
        X[:] = X[0]
    domain = np.where(np.arange(n) % 5 == 4, "target", "source")
    return X, {"domain": domain, "group": np.array(["slow", "fast"])[np.arange(n) // 5 % 2]}


def fitted(shape: str = "many", dtype: type = np.float64, specs=SPECS) -> dict[str, object]:
    X, labels = clips(shape, dtype)
    detectors = {}
    for spec in specs:
        try:
            with np.errstate(all="ignore"):
                detectors[spec] = create(spec).fit(X, **labels)
        except ValueError:
            assert shape != "many", spec  # a few detectors need more clips
    return detectors


def through_a_file(tree, arrays):
    """The tree as JSON text, and every array in read-only memory of its own."""
    copies = {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in arrays.items()}
    return json.loads(json.dumps(tree, allow_nan=False)), copies
