"""Parameters of an estimator whose names depend on one of them: the keywords of the named detector."""

from typing import Any, Self

from sklearn.base import BaseEstimator

from detectors import DETECTORS, make_detector, parameters
from featstore.errors import AsdError
from featstore.spec import unknown


class NamedDetector(BaseEstimator):  # type: ignore[misc]
    """Holds the name of a detector, the rate, and the detector's own keywords, which are parameters like these two.

    A keyword that is not given has the detector's default. Keywords are checked by `set_params` and by `fit`. They are
    no attributes, because some detectors have a keyword `score`, which in scikit-learn is a method.
    """

    def __init__(self, detector: str = "knn", *, contamination: float = 0.1, **parameters: Any) -> None:
        self._keywords: dict[str, Any] = parameters
        self.detector = detector
        self.contamination = contamination

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Name of the detector, contamination, and every keyword of the detector."""
        own = {"detector": self.detector, "contamination": self.contamination}
        return {**own, **(_defaults(self.detector) or {}), **self._keywords}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; with another `detector`, keywords that it does not have are forgotten.

        ValueError for a keyword that the detector does not have.
        """
        detector = params.pop("detector", self.detector)
        known = _defaults(detector)
        if known is not None:
            for key in params:
                if key != "contamination" and key not in known:
                    raise ValueError(unknown(f"parameter of {detector}", key, ["detector", "contamination", *known]))
        self.contamination = params.pop("contamination", self.contamination)
        kept = {key: value for key, value in self._keywords.items() if known is None or key in known}
        self.detector, self._keywords = detector, {**kept, **params}
        return self

    def _made(self) -> Any:
        """The detector, not fitted; ValueError for an unknown name or keyword."""
        name = self.detector
        if not isinstance(name, str):
            raise ValueError(f"detector={name!r}: expected a name, such as 'knn' or 'sklearn:IsolationForest'")
        if name.partition(":")[0] in DETECTORS and ":" in name:
            raise ValueError(f"detector={name!r}: expected the name alone; parameters are keywords, as in ('knn', k=2)")
        return make_detector(name, **self._keywords)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("detector", "contamination") and not name.startswith("_") and not name.endswith("_"):
            raise AttributeError(f"no attribute {name!r}; change a keyword of the detector by set_params({name}=...)")
        super().__setattr__(name, value)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        keywords = {"contamination": self.contamination, **self._keywords}
        texts = [repr(self.detector), *(f"{key}={value!r}" for key, value in keywords.items())]
        return f"{type(self).__name__}({', '.join(texts)})"


def _defaults(detector: object) -> dict[str, Any] | None:
    """Default of every keyword that has one; None for what is no detector."""
    try:
        known = parameters(detector) if isinstance(detector, str) else None
    except (ValueError, AsdError):
        return None
    return known and {key: value for key, value in known.items() if not isinstance(value, type)}
