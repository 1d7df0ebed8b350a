"""Networks trained on normal clips, and the embedders that load their checkpoints."""
