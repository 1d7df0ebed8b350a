"""`detect review`: the page in the browser to listen, decide and mark, served to this machine alone."""
