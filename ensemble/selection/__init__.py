"""The choice of an ensemble by generated anomalies, without labels."""
