"""Training on normal clips: data, labels, augmentation, the loop and its saved state."""
