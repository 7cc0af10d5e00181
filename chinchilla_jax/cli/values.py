"""Values of options and arguments that need no judge: text where text is wanted, plain numbers for numbers.

typer leaves every value, defaults too, to pydantic, whose import takes a tenth of a second. Here what
can mean one thing only is taken as it is; all else, and with it every error message, stays with typer.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

from typer.models import ParameterInfo

_UNSURE = object()
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_REAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WRITTEN = {int: _WHOLE, float: _REAL}


def take_plain_values(command: Any) -> Any:
    """Let the parameters of `command`, and of the commands in it, take plain values as they are."""
    command.get_params = functools.partial(_parameters, command.get_params, command.callback)
    if isinstance(getattr(command, "commands", None), dict):
        for each in command.commands.values():
            take_plain_values(each)
    return command


def _parameters(
    given: Callable[[Any], list[Any]], callback: Callable[..., Any] | None, context: Any
) -> list[Any]:
    """What `Command.get_params` gives, --help included, which is made when first asked for."""
    parameters = given(context)
    new = [each for each in parameters if "process_value" not in vars(each)]
    kinds = _kinds(callback) if new and callback else {}
    for each in new:
        each.process_value = functools.partial(_process, each, kinds.get(each.name), each.process_value)
    return parameters


def _process(parameter: Any, kind: Any, judged: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """What `Parameter.process_value` does, without a judge where none is needed."""
    repeated = parameter.multiple or parameter.nargs != 1
    if value is None and not parameter.required:
        plain: Any = () if repeated else None
    elif get_origin(kind) is list and isinstance(value, list | tuple) and value:
        plain = [_plain(item, get_args(kind)[0]) for item in value]
    else:
        plain = _plain(value, kind)
    if plain is _UNSURE or (isinstance(plain, list) and _UNSURE in plain):
        return judged(context, value)
    return plain if parameter.callback is None else parameter.callback(context, parameter, plain)


def _plain(value: Any, kind: Any) -> Any:
    """`value` as a `kind` (str, bool, int or float), or `_UNSURE`."""
    if kind in (str, bool, int, float) and type(value) is kind:
        return value
    written = _WRITTEN.get(kind)
    return kind(value) if written and isinstance(value, str) and written.fullmatch(value) else _UNSURE


def _kinds(callback: Callable[..., Any]) -> dict[str, Any]:
    """The types of a command's parameters by name; without those that typer is told more about."""
    kinds = {}
    for each in inspect.signature(callback, eval_str=True).parameters.values():
        kind, *said = (
            get_args(each.annotation) if get_origin(each.annotation) is Annotated else (each.annotation,)
        )
        if get_origin(kind) in (Union, types.UnionType):
            (kind, *others) = (part for part in get_args(kind) if part is not type(None))
            kind = None if others else kind
        if not any(isinstance(note, ParameterInfo) and _told_more(note) for note in said):
            kinds[each.name] = kind
    return kinds


def _told_more(note: ParameterInfo) -> bool:
    return any(getattr(note, name, None) is not None for name in ("parser", "click_type", "min", "max"))
