"""The commands that embedders add to `featstore`: `models` and `train`."""
