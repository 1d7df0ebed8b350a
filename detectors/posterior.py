"""Scores from a column per section: negative log probability, log odds or log likelihood of a clip's own section."""

from typing import Literal

import numpy as np

from detectors.base import Fitted


class Posterior(Fitted):
    """Score of log posteriors, logits or log likelihoods (n, classes), as trained embedders store them.

    The class of a section is the column with the highest mean log posterior of its training clips. score="nll" is
    -log p of that class, score="odds" is log((1 - p) / p). score="likelihood" is minus the stored value of that class,
    without normalisation over the classes: for log likelihoods (`glow`) and negative errors (`idcaf`) per section.
    Reference scores are lower than scores of new normal clips where the network was trained on the training clips.
    """

    def __init__(self, *, score: Literal["nll", "odds", "likelihood"] = "nll") -> None:
        self.score = score

    def _min_clips(self) -> int:
        if self.score not in ("nll", "odds", "likelihood"):
            raise ValueError(f"unknown score {self.score!r}; choose from nll, odds, likelihood")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        self.class_ = int(np.argmax(_log_softmax(X).mean(axis=0)))

    def _score(self, X: np.ndarray) -> np.ndarray:
        if self.score == "likelihood":
            return -np.asarray(X[:, self.class_], dtype=np.float64)
        log_p = _log_softmax(X)
        own = log_p[:, self.class_]
        if self.score == "nll":
            return -own
        others = np.delete(log_p, self.class_, axis=1)
        if not others.shape[1]:
            return np.zeros(len(X))
        odds: np.ndarray = np.logaddexp.reduce(others, axis=1) - own
        return odds


def _log_softmax(X: np.ndarray) -> np.ndarray:
    """Log probabilities of every row of logits or log probabilities, float64."""
    X = np.asarray(X, dtype=np.float64)
    log_p: np.ndarray = X - np.logaddexp.reduce(X, axis=1, keepdims=True)
    return log_p
