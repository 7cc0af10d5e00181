"""How runs are resampled: --scheme and --cluster, and what the commands print about the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.options import Decorator, bundle

if TYPE_CHECKING:
    from chinchilla_jax import BootstrapResult, Runs
    from chinchilla_jax.bootstrapping.dependence import Dependence
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.cli.table_options import Table
    from chinchilla_jax.laws import Law

AUTO = "auto"
# Schemes that weight the runs, which every law and objective allows.
WEIGHT_SCHEMES = (AUTO, "pairs", "cluster", "bayesian")


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """The scheme that --scheme and --cluster name."""

    name: str = AUTO
    cluster: str | None = None

    def read_runs(self, table: Table, *, groups: str | None = None) -> Runs:
        """The runs of the table, with the column of --cluster and that of another option, if it names one."""
        wanted = {"--cluster": self.cluster, "--groups": groups}
        own = {option: name for option, name in wanted.items() if name and name not in choices.GROUPINGS}
        if own and table.data in choices.FIGURES:
            option, name = next(iter(own.items()))
            raise UsageError(
                f"{option} {name}: the embedded {table.data} has no such column; give "
                f"{choices.or_text(choices.GROUPINGS)}"
            )
        return table.read(groups=tuple(dict.fromkeys(own.values())))

    def read(self) -> Scheme | str:
        """The scheme, or the name of one without settings."""
        if self.cluster is None:
            return self.name
        from chinchilla_jax import Cluster

        return Cluster(by=self.cluster)

    def bootstrap(
        self, runs: Runs, law: Law, *, resamples: int, inner: int = 0, **settings: Any
    ) -> BootstrapResult:
        """`chinchilla_jax.bootstrap` by this scheme, with its progress shown."""
        from chinchilla_jax import bootstrap

        with output.progress("bootstrap", resamples * (1 + inner), laws=[law], n_runs=len(runs)) as advance:
            return bootstrap(
                runs,
                law,
                resamples=resamples,
                scheme=self.read(),
                inner=inner,
                progress=advance,
                **settings,
            )


def read_resampling(scheme: str = AUTO, cluster: str | None = None) -> Resampling:
    """The scheme that --scheme and --cluster name.

    Raises:
        UsageError: they contradict each other.
    """
    if cluster is not None and scheme not in (AUTO, "cluster"):
        raise UsageError(f"--cluster is for --scheme cluster, not {scheme}; leave one of them out")
    return Resampling(name=scheme, cluster=cluster)


def resampling_options(names: Sequence[str] = (AUTO, *choices.SCHEMES)) -> Decorator[Any]:
    """--scheme and --cluster, as `resampling`.

    Args:
        names: schemes that the command supports; the first is the default.
    """
    return bundle("resampling", read_resampling, resampling_option_pair(names))


def resampling_option_pair(names: Sequence[str]) -> dict[str, Decorator[Any]]:
    """The two options by name."""
    return {
        "scheme": click.option(
            "--scheme",
            type=choices.Name(names),
            metavar="NAME",
            default=names[0],
            help=f"How to resample: {choices.or_text(names)}. auto measures whether runs err together, and "
            "resamples what does.",
        ),
        "cluster": click.option(
            "--cluster",
            metavar="COLUMN",
            help="Resample whole groups: a column of DATA, or params, flops or replicates.",
        ),
    }


def scheme_fields(scheme: Scheme, dependence: Dependence | None) -> dict[str, Any]:
    """A scheme for JSON: its name, by what it clusters, and what was measured where "auto" chose it."""
    return {
        "scheme": scheme.name,
        "cluster": getattr(scheme, "by", None),
        "dependence": None
        if dependence is None
        else {"sentence": dependence.sentence, "groupings": output.records(dependence.columns())},
    }


def scheme_text(scheme: Scheme) -> str:
    """A scheme in a line: "pairs", "cluster by run"."""
    return scheme.text


def print_dependence(dependence: Dependence | None, of: str = "") -> None:
    """What "auto" chose and why, in a line, and for which table if there are several."""
    if dependence is not None:
        output.print_paragraph(f"scheme auto{f' of {of}' if of else ''}: {dependence.sentence}")
