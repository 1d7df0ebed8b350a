"""A build shared by many workers: planned units, ranks, leases and Ray."""
