"""Marks made in the page: those of `detect mark`, and the last one taken back."""

from ensemble.marks.file import Mark
from ensemble.review.session import Session


def mark_clip(session: Session, mark: Mark) -> Mark:
    """Write a mark of a clip whose key is known; it is on disk when this returns."""
    raise NotImplementedError


def undo(session: Session) -> Mark | None:
    """Take back the last mark made in this session that still counts; None where there is none."""
    raise NotImplementedError
