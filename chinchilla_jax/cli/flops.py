"""`chinchilla-jax flops`: training FLOP from an architecture, against 6 N D."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import laws, options, output

_COLUMNS = ("model", "params", "d_model", "n_layers", "ratio", "ratio_layers", "crossover")


def _dimension(what: str) -> Any:
    return typer.Option(metavar="N", help=what, show_default=False)


def flops_command(
    d_model: Annotated[int | None, _dimension("Width of the residual stream.")] = None,
    ffw_size: Annotated[int | None, _dimension("Width of the feed-forward layer.")] = None,
    kv_size: Annotated[int | None, _dimension("Width of one head.")] = None,
    n_heads: Annotated[int | None, _dimension("Heads per layer.")] = None,
    n_layers: Annotated[int | None, _dimension("Layers.")] = None,
    vocab_size: Annotated[
        int, typer.Option(metavar="N", help="Tokens in the vocabulary (your architecture).")
    ] = 32168,
    seq_len: Annotated[int, typer.Option(metavar="S", help="Tokens per sequence.")] = 2048,
    params: Annotated[
        str, typer.Option(metavar="NAME", help="N of 6 N D: reported (table only), standard, best_fit, ...")
    ] = "reported",
    figures: Annotated[
        str | None, options.optional("DIR", "Also draw the table of the 50 models into a directory.")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Count training FLOP from an architecture.

    Every term of Hoffmann et al. 2022 (appendix F) against 6 N D: for one architecture, or without any for
    the 50 models of that paper's Table A9.
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
        _table(params, seq_len, figures, as_json)
    elif missing:
        raise UsageError(f"--{missing[0].replace('_', '-')} is missing: an architecture has all five")
    elif figures is not None:
        raise UsageError("--figures draws the 50 models of the paper; leave the architecture out")
    else:
        rule = "standard" if params == "reported" else params
        _one({**dimensions, "vocab_size": vocab_size}, rule, seq_len, as_json)


def _table(params: str, seq_len: int, figures: str | None, as_json: bool) -> None:
    from chinchilla_jax.planning import flop_ratio_table

    table = flop_ratio_table(counting=params, seq_len=seq_len)
    if figures is not None:
        from chinchilla_jax.plots import planning as planning_figures

        figure = planning_figures.plot_flop_ratio(table, planning_figures.context_cost_table())
        planning_figures.save_figures([("flop_ratio", figure)], figures)
    if as_json:
        output.say_json({"params": params, "seq_len": seq_len, "models": laws.records(table)})
        return
    output.say(f"training FLOP / (6 N D), N {params}, {seq_len:,} tokens per sequence")
    output.say("ratio: whole model; ratio_layers: without embedding and logits, as published")
    output.say("crossover: context at which attention costs as much as the feed-forward layer (tokens)")
    output.say()
    output.say_table(_COLUMNS, table[list(_COLUMNS)].itertuples(index=False))


def _one(dimensions: dict[str, Any], rule: str, seq_len: int, as_json: bool) -> None:
    from chinchilla_jax._util.errors import unknown_name
    from chinchilla_jax.datasets.counting import COUNTING_RULES, Architecture
    from chinchilla_jax.planning import attention_crossover, flop_count, flop_ratio

    if rule not in COUNTING_RULES:
        raise unknown_name("count of the parameters", rule, COUNTING_RULES)
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
        output.say_json(fields)
        return
    total = float(count.forward)
    output.say(f"{n:,} parameters ({rule}), {seq_len:,} tokens per sequence")
    output.say()
    rows = [(name, value, f"{value / total:.1%}") for name, value in terms.items()]
    output.say_table(("forward", "FLOP per token", "share"), rows)
    output.say()
    output.say(f"training     {fields['training_flops_per_token']:.6g} FLOP per token, 6 N is {6 * n:.6g}")
    output.say(
        f"ratio        {fields['ratio']:.4f}; without embedding and logits {fields['ratio_layers']:.4f}"
    )
    output.say(
        f"crossover    attention passes the feed-forward layer at {fields['crossover']:,.0f} tokens of "
        f"context ({fields['crossover_context']:,.0f} without its projections)"
    )
