"""Scores that belong to a classifier: how little it believes that a clip is of the section it claims to be."""

from typing import Literal

import numpy as np

from detectors.base import Fitted


class Posterior(Fitted):
    """Score of log posteriors or logits (n, classes), as trained embedders store them with `output=posterior`.

    The claimed class of a section is the column its training clips are most likely to belong to. score="nll" is
    -log p of it, score="odds" log((1 - p) / p). Reference scores are those of training clips, which a network that has
    learned from them is surer of than of new ones.
    """

    def __init__(self, *, score: Literal["nll", "odds"] = "nll") -> None:
        self.score = score

    def _least(self) -> int:
        if self.score not in ("nll", "odds"):
            raise ValueError(f"unknown score {self.score!r}; choose from nll, odds")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        self.claimed_ = int(np.argmax(_log_softmax(X).mean(axis=0)))

    def _score(self, X: np.ndarray) -> np.ndarray:
        log_p = _log_softmax(X)
        own = log_p[:, self.claimed_]
        if self.score == "nll":
            return -own
        others = np.delete(log_p, self.claimed_, axis=1)
        if not others.shape[1]:
            return np.zeros(len(X))
        odds: np.ndarray = np.logaddexp.reduce(others, axis=1) - own
        return odds


def _log_softmax(X: np.ndarray) -> np.ndarray:
    """Log probabilities of every row, float64; rows that are such already stay as they are."""
    X = np.asarray(X, dtype=np.float64)
    log_p: np.ndarray = X - np.logaddexp.reduce(X, axis=1, keepdims=True)
    return log_p
