"""Several systems on the test clips of one store: their metrics, and which differences are more than chance."""
