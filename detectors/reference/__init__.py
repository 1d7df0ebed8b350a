"""Reference scores of training clips without a fit per clip."""
