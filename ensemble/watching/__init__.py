"""A fitted model at work without a person: every new recording of a folder, or an endless stream, scored and told."""
