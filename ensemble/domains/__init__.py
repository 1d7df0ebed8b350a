"""The domain that a clip sounds like, learned from training clips alone, and the offset of scores between domains."""
