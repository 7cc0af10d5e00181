"""The commands that write, and the places that they write to."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _faults.shown import local_files

SPEC = """
data = "chinchilla"
resamples = 20
flops = [1e20, 1e22, 1e24]
[[sweeps]]
family = "systematic_bias"
values = [0.8, 1.2]
"""
TABLES_ONLY = "--no-figures"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that writes to a place.

    Attributes:
        name: in the table of results.
        arguments: of the command line, from the place.
        before: commands that prepare the place, likewise.
        place: "local", "s3" or "memory".
        children: whether faults strike the processes that it starts.
        share: of the faults, relative to others.
        environment: beside the usual.
        cold: whether it always runs in a new process.
        killed_at: the last command of `before` is killed before it gives this name to a file.
        done: exit codes of the same command on a place that is complete.
    """

    name: str
    arguments: Callable[[str], list[str]]
    before: tuple[Callable[[str], list[str]], ...] = ()
    place: str = "local"
    children: bool = False
    share: float = 1.0
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cold: bool = False
    killed_at: str = ""
    done: tuple[int, ...] = (0,)


def commands(folder: Path, *, dask: bool) -> list[Command]:
    """All of them; `folder` gets what they read."""
    spec = folder / "spec.toml"
    spec.write_text(SPEC)

    def study(*options: str) -> Callable[[str], list[str]]:
        return lambda place: ["study", str(spec), "--out", place, "-q", *options]

    def finish(place: str) -> list[str]:
        return ["study", "finish", place, "-q"]

    def report(place: str) -> list[str]:
        return ["report", place, "-q"]

    def without_page(place: str) -> list[str]:
        return [*study(TABLES_ONLY)(place)]

    coverage = ["coverage", "chinchilla", "--datasets", "40", "--resamples", "20", "-q", "--out"]
    breakdown = ["breakdown", "chinchilla", "--family", "multiplicative", "--resamples", "20", "-q", "--out"]
    forms = ["forms", "chinchilla", "--law", "equal_exponents", "--split", "flops", "--budget", "8e20",
             "--resamples", "4", "-q", "--out"]  # fmt: skip
    objectives = ["objectives", "chinchilla", "--delta", "1e-3", "--delta", "1", "--resamples", "20", "-q",
                  "--out"]  # fmt: skip
    found = [
        Command("study", study(), share=4.0),
        Command("study, tables only", study(TABLES_ONLY), share=2.0),
        Command("study, more resamples", study("--resamples", "40"), (study(),), share=2.0),
        Command("study --shard 2/2", study("--shard", "2/2"), (study("--shard", "1/2"),), share=2.0),
        Command("study finish", finish, (study(),), killed_at="conditions.parquet", share=2.0),
        Command("report", report, (without_page,), share=2.0),
        Command("coverage", lambda place: [*coverage, place], share=2.0),
        Command("breakdown", lambda place: [*breakdown, place], share=0.5),
        Command("forms", lambda place: [*forms, place], share=0.2),
        Command("objectives", lambda place: [*objectives, place]),
        Command("plan --figures", lambda place: [
            "plan", "--flops", "1e22", "--resamples", "50", "-q", "--figures", place]),
        Command("study init", lambda place: [
            "study", "init", f"{place}/study.toml", "-q"], share=0.3, done=(0, 2)),
        Command("study on s3", study(), place="s3", share=1.5),
        Command("study finish on s3", finish, (study(),), "s3", killed_at="conditions.parquet"),
        Command("report on s3", report, (without_page,), "s3"),
    ]  # fmt: skip
    cold = {"CHINCHILLA_JAX_CACHE": str(folder / "empty")}
    found.append(Command("study, cold cache", study(TABLES_ONLY), share=0.2, environment=cold, cold=True))
    if dask:
        workers = ("--executor", "dask", "--workers", "2", TABLES_ONLY)
        found += [
            Command("study by Dask", study(*workers), share=0.3, cold=True),
            Command("Dask's workers", study(*workers), share=0.3, cold=True, children=True),
        ]
    return found


class Bucket:
    """A server of an object store (moto) in a process of its own, and its one bucket."""

    def __init__(self) -> None:
        """Start it."""
        code = (
            "import sys, moto.server; s = moto.server.ThreadedMotoServer(ip_address='127.0.0.1', port=0, "
            "verbose=False); s.start(); print(*s.get_host_and_port(), flush=True); sys.stdin.read()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        host, port = self._process.stdout.readline().split()
        self.environment = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
        }
        import boto3

        self._client: Any = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="testing",
            aws_secret_access_key="testing", region_name="us-east-1",
        )  # fmt: skip
        self._client.create_bucket(Bucket="studies")

    def files(self, prefix: str) -> dict[str, bytes]:
        """Every object below `prefix`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket="studies", Prefix=f"{prefix}/")
        names = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {
            name.removeprefix(f"{prefix}/"): self._client.get_object(Bucket="studies", Key=name)[
                "Body"
            ].read()
            for name in names
        }

    def put(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Replace everything below `prefix`."""
        for name in self.files(prefix):
            self._client.delete_object(Bucket="studies", Key=f"{prefix}/{name}")
        for name, content in files.items():
            self._client.put_object(Bucket="studies", Key=f"{prefix}/{name}", Body=content)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


@dataclasses.dataclass
class Place:
    """Where a command writes: a folder, or a prefix of the bucket.

    Attributes:
        folder: of this machine.
        bucket: None for a local place.
    """

    folder: Path
    bucket: Bucket | None = None

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return f"s3://studies/{self.folder.name}" if self.bucket else str(self.folder)

    def files(self) -> dict[str, bytes]:
        """Everything in it."""
        return self.bucket.files(self.folder.name) if self.bucket else local_files(self.folder)

    def fill(self, files: Mapping[str, bytes]) -> None:
        """Replace everything in it."""
        if self.bucket:
            self.bucket.put(self.folder.name, files)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name, content in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
