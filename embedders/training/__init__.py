"""Training on normal clips: data, labels, augmentation, the loop, and what resumes it."""
