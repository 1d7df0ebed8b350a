"""Maintenance of a store: describe, verify, repair, compact."""
