"""What all objectives have: a network, its loss in training, and its vectors afterwards."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from embedders.networks.objectives.names import Features


class Objective(nn.Module):
    """A network and what it is trained for.

    views: names along the first axis of an embedding; () if there is a single view. outputs: kinds of vectors.
    keeps_classes: whether a checkpoint holds the classes. labels: definition of a class where the objective has one of
    its own, as in `training.labels`.
    """

    views: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("embedding",)
    keeps_classes: ClassVar[bool] = False
    labels: ClassVar[str] = ""

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__()
        self.network: Any = network

    @staticmethod
    def columns(config: Any, classes: tuple[str, ...], output: str) -> int:
        """Columns of each view of an output."""
        return int(config.dim)

    @abstractmethod
    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Loss of a batch: target (batch, n_classes) soft labels, first (batch,) the class before mixing."""

    @abstractmethod
    def vectors(self, features: Features, output: str) -> Tensor:
        """Vectors (batch, columns) or (batch, views, columns) of an output."""
