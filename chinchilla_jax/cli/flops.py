"""`chinchilla-jax flops`: training FLOP from an architecture, compared with 6 N D."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.options import Decorator, output_options

_COLUMNS = ("model", "params", "d_model", "n_layers", "ratio", "ratio_layers", "crossover")


def _size(name: str, help: str, default: int | None = None) -> Decorator[Any]:
    return click.option(name, type=choices.WholeNumber(1), metavar="N", default=default, help=help)


@click.command("flops")
@_size("--d-model", "Width of the residual stream.")
@_size("--ffw-size", "Width of the feed-forward layer.")
@_size("--kv-size", "Width of one attention head.")
@_size("--n-heads", "Attention heads per layer.")
@_size("--n-layers", "Layers.")
@_size("--vocab-size", "Tokens in the vocabulary of the architecture.", 32168)
@_size("--seq-len", "Tokens per sequence.", 2048)
@click.option(
    "--counting",
    type=choices.Name(("reported", *choices.COUNTING_RULES)),
    metavar="NAME",
    show_default="reported for the 50 models, standard for an architecture",
    help=f"How N of 6 N D is counted: {choices.or_text(('reported', *choices.COUNTING_RULES))}.",
)
@figures_option
@output_options
def flops_command(
    d_model: int | None,
    ffw_size: int | None,
    kv_size: int | None,
    n_heads: int | None,
    n_layers: int | None,
    vocab_size: int,
    seq_len: int,
    counting: str | None,
    figures: Figures,
    as_json: bool,
) -> None:
    """Count training FLOP from an architecture.

    Compares every term of Hoffmann et al. 2022 (appendix F) with 6 N D: for the architecture given, or for
    the 50 models of that paper's Table A9 if none is.
    """
    dimensions = {
        "d_model": d_model,
        "ffw_size": ffw_size,
        "kv_size": kv_size,
        "n_heads": n_heads,
        "n_layers": n_layers,
    }
    missing = [name for name, value in dimensions.items() if value is None]
    if len(missing) == len(dimensions):
        _table(counting or "reported", seq_len, figures, as_json)
    elif missing:
        raise UsageError(f"--{missing[0].replace('_', '-')} is missing: an architecture needs all five sizes")
    elif figures:
        raise UsageError("--figures draws the 50 models of the paper; leave the architecture out")
    elif counting == "reported":
        raise UsageError(
            "--counting reported is for the 50 models of the paper; give standard, best_fit, ..."
        )
    else:
        _one({**dimensions, "vocab_size": vocab_size}, counting or "standard", seq_len, as_json)


def _table(counting: str, seq_len: int, figures: Figures, as_json: bool) -> None:
    from chinchilla_jax.planning import flop_ratio_table

    table = flop_ratio_table(counting=counting, seq_len=seq_len)
    if figures:
        from chinchilla_jax import plots

        figures.save({"flop_ratio": lambda: plots.flop_ratio(table, plots.context_cost_table())})
    if as_json:
        output.print_json({"params": counting, "seq_len": seq_len, "models": output.records(table)})
        return
    output.echo(f"training FLOP / (6 N D), N {counting}, {seq_len:,} tokens per sequence")
    output.echo("ratio: whole model; ratio_layers: without embedding and logits, as published")
    output.echo("crossover: context at which attention costs as much as the feed-forward layer (tokens)")
    output.echo()
    output.print_table(_COLUMNS, output.rows(table, _COLUMNS))


def _one(dimensions: dict[str, Any], rule: str, seq_len: int, as_json: bool) -> None:
    from chinchilla_jax.datasets.counting import COUNTING_RULES, Architecture
    from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
    from chinchilla_jax.planning import attention_crossover, flop_count, flop_ratio

    architecture = Architecture(**dimensions)
    count = flop_count(architecture, seq_len)
    n = int(COUNTING_RULES[rule](architecture))
    whole, layers = flop_ratio(architecture, n, seq_len)
    terms = {field.name: float(getattr(count, field.name)) for field in dataclasses.fields(count)}
    fields = {
        "params": n,
        "counted": rule,
        "seq_len": seq_len,
        "forward_flops_per_token": terms,
        "training_flops_per_token": float(count.training),
        "ratio": float(whole),
        "ratio_layers": float(layers),
        "crossover": float(attention_crossover(architecture)),
        "crossover_context": float(attention_crossover(architecture, context_only=True)),
    }
    if as_json:
        output.print_json(fields)
        return
    total = float(count.forward)
    output.echo(f"{n:,} parameters ({rule}), {seq_len:,} tokens per sequence")
    output.echo()
    rows = [(name, value, f"{value / total:.1%}") for name, value in terms.items()]
    output.print_table(("forward", "FLOP per token", "share"), rows)
    output.echo()
    six_n = FLOPS_PER_PARAM_TOKEN * n
    per_token = flops_text(float(count.training), 6)
    output.echo(f"training     {per_token} FLOP per token, 6 N is {flops_text(six_n, 6)}")
    output.echo(
        f"ratio        {fields['ratio']:.4f}; without embedding and logits {fields['ratio_layers']:.4f}"
    )
    output.echo(
        f"crossover    attention passes the feed-forward layer at {fields['crossover']:,.0f} tokens of "
        f"context ({fields['crossover_context']:,.0f} without its projections)"
    )
