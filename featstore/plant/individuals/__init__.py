"""Plants with several machines of one kind: individuals, their faults, and the hall that they share."""
