"""Losses of the trained networks: classification with margins, contrastive, selective, combined."""
