"""AUC, pAUC, official scores and their intervals; the only part that reads test labels."""
