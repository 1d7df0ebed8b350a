"""Care of a finished store: describe, verify, repair, compact."""
