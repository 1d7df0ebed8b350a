"""Networks that classify recordings by machine, section or attribute."""
