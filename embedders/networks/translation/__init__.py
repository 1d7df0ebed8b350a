"""Networks that translate normal sounds into the sounds of faults."""
