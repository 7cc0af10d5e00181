"""Arms failpoints in every Python process that finds this folder on PYTHONPATH; the package knows nothing."""

import os
import sys

sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
try:
    from _faults.failpoints import arm_from_environment

    arm_from_environment()
finally:
    del sys.path[1]
