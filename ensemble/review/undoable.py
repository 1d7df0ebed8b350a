"""The marks of a session that can be taken back."""

from dataclasses import dataclass, field

from ensemble.marks.file import Mark


@dataclass
class Undoable:
    """The marks of a session in order, without those that were taken back.

    restored: a line that took a mark back stands for an earlier mark of each of its clips: checksum of the line and key
    of the clip -> checksum of the mark that holds again.
    """

    marks: list[Mark] = field(default_factory=list)
    restored: dict[tuple[str, str], str] = field(default_factory=dict)

    def original(self, mark: Mark, key: str) -> str:
        """The checksum of the mark that a mark of a clip stands for: its own, or that of the one that holds again."""
        return self.restored.get((mark.checksum, key), mark.checksum)
