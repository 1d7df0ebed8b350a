"""Two microphones: what the far one explains is subtracted from the near one."""
