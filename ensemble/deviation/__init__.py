"""Where a clip sounds different: its log-mel spectrogram against what is normal in its section, in robust z-scores."""
