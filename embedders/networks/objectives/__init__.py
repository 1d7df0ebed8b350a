"""What a network is trained for, and the vectors that it then gives."""
