"""The simulated plant: machines, faults, rooms and microphones."""
