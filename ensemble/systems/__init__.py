"""Published systems: one TOML file each, and the commands that train and run it."""
