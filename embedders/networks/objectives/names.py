"""Names of classes, and the types that all objectives share."""

from collections.abc import Callable

from torch import Tensor

NORMAL = "normal"
"""State of a machine in class labels `machine|state`; others are kinds of faults."""

Features = tuple[Tensor, ...]
Exchange = Callable[[Tensor], tuple[Tensor, Tensor]]


def section_of(label: str) -> str:
    """Machine and section of a class label, as `machine|section`."""
    return "|".join(label.split("|")[:2])


def section_names(classes: tuple[str, ...]) -> list[str]:
    """All machines and sections among the classes, sorted."""
    return sorted({section_of(name) for name in classes})
