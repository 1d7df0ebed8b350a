"""A recipe fitted to the training clips of a store: detectors, honest reference scores, and decisions on new clips."""
