"""Preparation of the training rows of a k-NN bank: frequency bands, SMOTE, MemMixup."""
