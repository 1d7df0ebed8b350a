"""Networks trained on normal clips, and the embedders made of their checkpoints."""
