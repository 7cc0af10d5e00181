"""A damped Newton method for any law."""
