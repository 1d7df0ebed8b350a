"""A fitted model in one file: everything that is needed to score a new recording in milliseconds."""
