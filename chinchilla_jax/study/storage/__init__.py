"""The directory of a study: its files, who owns it, who is at work on it."""
