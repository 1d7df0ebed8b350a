"""Windows of recordings: honest references among them, events, and scores of whole recordings."""
