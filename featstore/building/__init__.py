"""A build on one machine: what is to be embedded, in which units, by which worker processes."""
