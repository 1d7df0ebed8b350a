"""Official metrics of a run and of anybody's scores, and what a metric is worth where test clips are copies."""
