"""One table under every defensible analysis of it."""
