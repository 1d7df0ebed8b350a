"""Generated anomalies: functions that add a fault of a calibrated severity to a normal wave."""
