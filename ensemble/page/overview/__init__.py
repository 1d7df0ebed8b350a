"""The overview: for every section how many events, the course of its scores, and whether its false-alarm rate holds."""
