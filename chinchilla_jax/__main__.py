"""`python -m chinchilla_jax`: the command line, where the script is not on the path."""

import sys

from chinchilla_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
