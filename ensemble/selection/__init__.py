"""Selection: choosing an ensemble by generated anomalies, without labels."""
