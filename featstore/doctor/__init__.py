"""What an installation and its machine offer, and what they lack for which command."""
