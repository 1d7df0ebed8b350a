"""Networks that reconstruct normal sound."""
