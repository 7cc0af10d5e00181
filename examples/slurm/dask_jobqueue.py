"""One study on workers that Dask submits to SLURM: as many as the queue allows.

    python examples/slurm/dask_jobqueue.py study.toml /shared/results/study

Run it where it can stay, such as in a small job: this process hands out the chunks and writes them.
Needs the extra "dask". Between scheduler and workers the connection is encrypted and authenticated by TLS,
with certificates made for this run, in a folder that all nodes see; docs/how-to/dask.md says why.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed import Client

import chinchilla_jax as cj


def main() -> None:
    """Start the cluster, run the study, end the cluster."""
    spec, out = sys.argv[1:]
    with (
        SLURMCluster(
            cores=1,
            processes=1,
            memory="16GB",
            walltime="01:00:00",
            job_cpu=8,
            job_extra_directives=["--gpus=1"],
            # Workers end before their job does; their chunks go to other workers.
            worker_extra_args=["--lifetime", "55m", "--lifetime-stagger", "4m"],
            protocol="tls",
            security=True,
            shared_temp_directory=Path.home() / ".dask-certificates",
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.adapt(minimum_jobs=1, maximum_jobs=40)
        study = cj.run_study(cj.StudySpec.from_toml(spec), out, executor=client.get_executor())
        print(study)


if __name__ == "__main__":
    main()
