"""Generated anomalies: a normal wave in, the same wave with a fault of a calibrated strength out."""
