"""The option --cost, and what commands say of the cost of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax.laws import Cost


def cost_option(command: Any) -> Any:
    """The option --cost, for `read_cost`."""
    decorated: Any = click.option(
        "--cost",
        metavar="6nd|measured|FILE",
        show_default="measured where DATA has FLOP of its own",
        help="What training costs: 6 N D; fitted to the FLOP of DATA; or counted from the architectures of "
        "FILE (columns d_model, ffw_size, kv_size, n_heads, n_layers) or of chinchilla_architectures.",
    )(command)
    return decorated


def read_cost(text: str | None) -> Cost | str | None:
    """The cost that --cost names, for `LawSample.at`; a name of the two is itself.

    Raises:
        DataError: the file cannot be read.
    """
    if text is None or text in ("6nd", "measured"):
        return text
    from chinchilla_jax.planning import read_architecture_cost

    return read_architecture_cost(text)


def cost_fields(cost: Cost) -> dict[str, Any]:
    """What training costs, for JSON."""
    return {
        "formula": cost.formula,
        "coefficient": cost.coefficient,
        "params_power": cost.params_power,
        "tokens_power": cost.tokens_power,
        "evidence": None if cost.evidence is None else cost.evidence.as_dict(),
    }


def print_cost(cost: Cost, *, overruled: bool = True) -> None:
    """What training costs, where that is not 6 N D, and how to overrule it, where that can be."""
    if cost.evidence is not None:
        how = "; --cost 6nd for 6 N D" if overruled else ""
        output.print_paragraph(f"cost: {cost.evidence.text(cost)}{how}")
