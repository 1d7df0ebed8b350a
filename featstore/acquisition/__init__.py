"""How recordings were made, and which of them were made differently from those that they are compared with."""
