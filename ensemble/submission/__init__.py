"""Files of a DCASE Task 2 submission: scores, decisions and the metadata beside them."""
