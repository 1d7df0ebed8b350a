"""Networks that model the density of log-mel spectrograms."""
