"""The directory of a study: its files, its owner and its heartbeat."""
