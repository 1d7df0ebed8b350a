"""Where a clip deviates: its log-mel spectrogram against normal clips of its section, in robust z-scores."""
