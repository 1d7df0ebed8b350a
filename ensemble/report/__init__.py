"""The HTML report: one file with charts, spectrograms and players, without any network access."""
