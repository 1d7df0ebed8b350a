"""The space of an embedding in the page: maps of its rows, and searches among them."""
