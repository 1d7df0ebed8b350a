"""A build on one machine: which clips to embed, in which units, in which worker processes."""
