"""Scripts of docs/ and experiments/, which are in no package, as modules."""

import importlib.util
import sys


def loaded(path):
    """The script at a path; it may import what lies beside it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[path.stem] = module  # where its dataclasses look for their annotations
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
        sys.path.remove(str(path.parent))
    return module
