#!/bin/bash
# One study on many GPUs as a SLURM array job: every task does one part, and the last to end summarises.
#
#   sbatch examples/slurm/array.sh study.toml /shared/results/study
#
# The directory must be visible to all nodes (or an s3:// URL). If a task fails, is preempted or runs out of time,
# submit it again, alone (sbatch --array=7) or with all others: finished chunks are kept.
#SBATCH --job-name=chinchilla-study
#SBATCH --array=1-40
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=01:00:00
#SBATCH --requeue
set -euo pipefail

spec=${1:?give the spec: paper, or a TOML file}
out=${2:?give the directory of the results}
count=${SLURM_ARRAY_TASK_COUNT:?start this with sbatch --array}

# The tasks of an array job need not be numbered from 1.
number=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))

# Keeps compiled programs between tasks. All nodes may share the folder: each kind of machine gets its own files.
export CHINCHILLA_JAX_CACHE=${CHINCHILLA_JAX_CACHE:-$HOME/.cache/chinchilla_jax}

srun chinchilla-jax study "$spec" --out "$out" --shard "$number/$count"
