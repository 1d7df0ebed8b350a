"""What a terminal is shown: text in which no name can be a command, and a clean end when a command is told to stop."""
