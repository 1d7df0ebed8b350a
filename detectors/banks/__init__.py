"""What is done to the training rows before a detector sees them: frequency bands, SMOTE, mixed copies."""
