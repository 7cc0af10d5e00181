"""Print constraints that pin each dependency of a user to its lower bound in pyproject.toml.

Used by .ci/run: pip install --constraint FILE -e '.[arviz,test]'. Packages that these depend on, and what
only developers need, come in their newest versions.
"""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("arviz", "dask", "excel", "remote")
"""Those for users. cuda and tpu name the same version of JAX, with other hardware."""


def constraints(project: dict) -> list[str]:
    """One line for each requirement, which has a lower bound and nothing else."""
    extras = project["optional-dependencies"]
    lines = []
    for requirement in [*project["dependencies"], *(each for extra in EXTRAS for each in extras[extra])]:
        found = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
        if found is None:
            raise SystemExit(f"pyproject.toml: {requirement!r}: expected NAME>=VERSION")
        lines.append("{}=={}".format(*found.groups()))
    return lines


if __name__ == "__main__":
    print("\n".join(constraints(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"])))
