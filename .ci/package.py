"""Build the sdist and the wheel into a folder, and check them: python .ci/package.py FOLDER.

Checks their metadata (twine), size and content, and that the wheel works by itself: unpacked into a folder of
its own, it fits a law there.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
LIMITS = {".whl": 2_000_000, ".gz": 3_000_000}
"""Bytes. The sdist has the tests and the results of experiments, without their pictures."""
FOLDERS = {".ci", ".github", "benchmarks", "conda", "docs", "examples", "experiments", "tests"}
STRAY = {"__pycache__", ".pyc", ".egg-info", "site", "results"}


def run(*command: str, **options: object) -> None:
    """Run a program, which must succeed."""
    subprocess.run([sys.executable, *command], check=True, **options)


def tracked(folder: str) -> set[str]:
    """The files of a folder of the repository that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", folder], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(filter(None, listed.stdout.split("\0")))


def check_wheel(names: set[str]) -> list[str]:
    """What is wrong with the content of the wheel: the package as git has it, its licences, and no more."""
    information = {name for name in names if ".dist-info/" in name}
    expected, found = tracked("chinchilla_jax"), names - information
    licences = {PurePosixPath(name).name for name in information if "/licenses/" in name}
    return (
        [f"the wheel lacks {name}" for name in sorted(expected - found)]
        + [f"the wheel has {name}, which is not in git" for name in sorted(found - expected)]
        + [f"the wheel lacks the licence file {name}" for name in sorted({"LICENSE", "NOTICE"} - licences)]
    )


def check_sdist(names: set[str]) -> list[str]:
    """What is wrong with the content of the sdist: caches, builds, pictures of experiments, other folders."""
    faults = []
    for name in sorted(names):
        path = PurePosixPath(*PurePosixPath(name).parts[1:])  # below chinchilla_jax-VERSION
        folder = path.parts[0] if len(path.parts) > 1 else None
        if STRAY & {*path.parts, path.suffix} or (folder and folder not in {*FOLDERS, "chinchilla_jax"}):
            faults.append(f"the sdist has {name}")
        if folder == "experiments" and path.suffix == ".png":
            faults.append(f"the sdist has the picture {name}")
    return faults


def main(folder: str) -> None:
    """Build, check, and end with 1 where something is wrong."""
    out = Path(folder).resolve()
    run("-m", "build", "--outdir", str(out), str(ROOT), stdout=subprocess.DEVNULL)
    wheel, sdist = max(out.glob("*.whl")), max(out.glob("*.tar.gz"))
    run("-m", "twine", "check", "--strict", str(wheel), str(sdist))
    sizes = {file: file.stat().st_size for file in (wheel, sdist)}
    faults = [
        f"{file.name} has {size} bytes, more than {LIMITS[file.suffix]}"
        for file, size in sizes.items()
        if size > LIMITS[file.suffix]
    ]
    with zipfile.ZipFile(wheel) as archive:
        faults += check_wheel({name for name in archive.namelist() if not name.endswith("/")})
    with tarfile.open(sdist) as archive:
        faults += check_sdist({member.name for member in archive if member.isfile()})
    if faults:
        raise SystemExit("\n".join(faults))
    with tempfile.TemporaryDirectory() as elsewhere:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(elsewhere)
        alone = {"cwd": elsewhere, "env": os.environ | {"PYTHONPATH": elsewhere}}
        where = f"import chinchilla_jax as cj; assert cj.__file__.startswith({elsewhere!r}), cj.__file__"
        run("-c", where, **alone)
        run("-m", "chinchilla_jax", "fit", "chinchilla", stdout=subprocess.DEVNULL, **alone)
    for file, size in sizes.items():
        print(f"{file.name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
