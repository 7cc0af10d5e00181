"""Conditions on the rows of a table, such as "corpus == 'c4' and tokens / params >= 20".

The text is parsed by `ast` and walked here, node by node: names are columns, and nothing is ever called or
run. Allowed are comparisons, `in` and `not in` lists, `and`, `or`, `not`, brackets, numbers, texts, true and
false, and + - * / between numbers. A name that is no Python name goes in backticks: `val/loss` > 2.

| a cell               | beside a number              | beside a text | by itself            |
|----------------------|------------------------------|---------------|----------------------|
| a number             | its value                    | its text      | true unless 0        |
| true, false, yes, no | no number                    | its text      | true or false        |
| any other text       | no number                    | its text      | an error             |
| empty                | nothing                      | nothing       | false                |

A cell is read as it is in the table, in the table's own unit; beside a number "1.3B" and "1,300,000,000" are
the numbers that they are. Texts that are plain numbers on both sides are compared as numbers. What is
nothing, or no number, is neither equal to, nor above, nor below any number: only != and `not in` hold.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax.datasets.flags import as_flag, is_empty

if TYPE_CHECKING:
    from chinchilla_jax.datasets.table import Table

_LONGEST = 2000  # characters
_DEEPEST = 50  # brackets within brackets
_QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`([^`]*)`""")
_SCALED = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?([kKmMbBgGtT])")
_SCALES = {"k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3}){2,}|[1-9][0-9]{0,2}(?: [0-9]{3})+")
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_WORDS = {"true": True, "false": False, "none": None, "null": None}

Value = Any  # a cell, a float, a text, a bool, or None for nothing
Reader = Callable[[int], Value]
"""The value of a part of the condition at a row."""


def written(column: str) -> str:
    """A column as a condition writes it: in backticks where it is no Python name."""
    return column if column.isidentifier() else f"`{column}`"


def rows_where(table: Table, condition: str, names: dict[str, int]) -> list[int]:
    """Positions of the rows for which the condition holds.

    Args:
        table: the table.
        condition: see above.
        names: further names of columns and their positions, such as those of quantities; those of the header
            win.

    Raises:
        UsageError: it is no condition, names a column that the table does not have, or keeps no row.
    """
    reading = _Reading(table, condition, names)
    holds = reading.condition()
    kept = [row for row in range(len(table.rows)) if holds(row)]
    if not kept and len(table.rows):
        raise reading.error(f"no row of {len(table.rows)} is kept; {reading.seen()}")
    return kept


class _Reading:
    """One condition read for one table."""

    def __init__(self, table: Table, text: str, names: dict[str, int]) -> None:
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"where is {short(text)}; give a condition such as \"corpus == 'c4'\"")
        self.table, self.text = table, text
        self._source = ""
        self._own = [name.strip() for name in table.header]
        self._names = {name.casefold(): place for name, place in names.items()}
        self._backticked: list[str] = []
        self._cells: dict[int, Sequence[object]] = {}

    def error(self, what: str) -> UsageError:
        return UsageError(f"{self.table.where}: where {short(self.text, 80)}: {what}")

    def seen(self) -> str:
        """The values of the columns that the condition names."""
        parts = []
        for place, cells in self._cells.items():
            values = list(dict.fromkeys(_text(cell) for cell in cells))
            listed = ", ".join(short(value, 30) for value in values[:6]) + ", ..." * (len(values) > 6)
            parts.append(f"column {short(self.table.header[place])} has {listed}")
        return "; ".join(parts) or "name a column"

    def condition(self) -> Callable[[int], bool]:
        if len(self.text) > _LONGEST:
            raise self.error(f"longer than {_LONGEST} characters; shorten it")
        self._source = self._without_backticks()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # of unknown escapes in texts
                tree = ast.parse(self._source, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise self.error(f"not a condition; {self._hint()}") from None
        return self._truth(self._read(tree.body, 0), tree.body)

    def _without_backticks(self) -> str:
        def replaced(match: re.Match[str]) -> str:
            if match[1] is not None:
                return match[1]
            self._backticked.append(match[2].strip())
            return f" _column_{len(self._backticked) - 1}_ "

        return _QUOTED.sub(replaced, " ".join(self.text.splitlines())).strip()

    def _hint(self) -> str:
        bare = _QUOTED.sub("", self.text)
        if re.search(r"(?<![=!<>])=(?!=)", bare):
            return "for equal write =="
        if re.search(r"&|\||!(?!=)|<>|\b(AND|OR|NOT|IN)\b", bare):
            return "write and, or, not, in and !="
        return (
            "give comparisons such as \"corpus == 'c4' and params > 1e8\"; names with spaces go in backticks"
        )

    def _read(self, node: ast.AST, depth: int) -> Reader:
        if depth > _DEEPEST:
            raise self.error("too many brackets; shorten it")
        match node:
            case ast.Constant(value=value):
                return self._constant(value)
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.BoolOp(op=op, values=values):
                parts = [self._truth(self._read(each, depth + 1), each) for each in values]
                every = all if isinstance(op, ast.And) else any
                return lambda row: every(part(row) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._truth(self._read(operand, depth + 1), operand)
                return lambda row: not inner(row)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                number = self._number(self._read(operand, depth + 1))
                factor = -1.0 if isinstance(sign, ast.USub) else 1.0
                return lambda row: factor * number(row)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(node, left, op, right, depth)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(left, ops, comparators, depth)
        written = ast.get_source_segment(self._source, node) or type(node).__name__
        raise self.error(
            f"{short(written)} is not allowed; use columns, numbers, texts, comparisons, in, and, or, not "
            "and + - * /"
        )

    def _constant(self, value: object) -> Reader:
        if isinstance(value, bool | str) or value is None:
            return lambda row: value
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise self.error(f"{short(value)} is not a number or a text") from None
        return lambda row: number

    def _name(self, node: ast.AST) -> Reader:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            raise self.error("a dot follows something that is no name; put names with dots in backticks")
        name = ".".join([node.id, *reversed(parts)])
        marked = re.fullmatch(r"_column_(\d+)_", name)
        quoted = marked is not None and int(marked[1]) < len(self._backticked)
        if marked is not None and quoted:
            name = self._backticked[int(marked[1])]
        place = self._place(name)
        if place is None and not quoted and name.casefold() in _WORDS:
            word = _WORDS[name.casefold()]
            return lambda row: word
        if place is None:
            raise self._unknown(name)
        cells = self._cells.setdefault(place, list(self.table.column(place)))
        return lambda row: cells[row]

    def _place(self, name: str) -> int | None:
        if self._own.count(name) > 1:
            raise self.error(f"two columns are named {short(name)}; rename one")
        if name in self._own:
            return self._own.index(name)
        folded = [place for place, own in enumerate(self._own) if own.casefold() == name.casefold()]
        if len(folded) == 1:
            return folded[0]
        return self._names.get(name.casefold())

    def _unknown(self, name: str) -> UsageError:
        near = closest(name, self._own)
        listed = ", ".join(short(own) for own in self._own[:8]) + ", ..." * (len(self._own) > 8)
        hint = f"did you mean {near!r}? " if near else ""
        return self.error(
            f"no column is named {short(name)}; {hint}the table has {listed}; a text goes in quotes"
        )

    def _arithmetic(
        self, node: ast.AST, left: ast.AST, op: ast.operator, right: ast.AST, depth: int
    ) -> Reader:
        whole = (ast.get_source_segment(self._source, node) or "").strip()
        if whole in self._own:
            raise self.error(f"{whole} is a column and a calculation; for the column write `{whole}`")
        first, second = (self._number(self._read(each, depth + 1)) for each in (left, right))
        compute = _ARITHMETIC[type(op)]

        def value(row: int) -> float:
            try:
                return compute(first(row), second(row))
            except ArithmeticError:
                return math.nan

        return value

    def _comparison(
        self, left: ast.AST, ops: Sequence[ast.cmpop], comparators: Sequence[ast.AST], depth: int
    ) -> Reader:
        if len(ops) > 1 and any(isinstance(op, ast.In | ast.NotIn) for op in ops):
            raise self.error("in cannot be chained; join comparisons by and")
        first = self._read(left, depth + 1)
        links: list[Callable[[int], bool]] = []
        for op, node in zip(ops, comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                links.append(self._membership(first, node, isinstance(op, ast.In), depth))
                break
            if type(op) not in _COMPARISONS:
                raise self.error("is and is not are no comparisons here; write == and !=")
            second = self._read(node, depth + 1)
            links.append(_compared(type(op), first, second))
            first = second
        return lambda row: all(holds(row) for holds in links)

    def _membership(self, first: Reader, node: ast.AST, wanted: bool, depth: int) -> Callable[[int], bool]:
        if not isinstance(node, ast.List | ast.Tuple | ast.Set):
            raise self.error("after in comes a list, such as corpus in ['c4', 'pile']")
        equal = [_compared(ast.Eq, first, self._read(each, depth + 1)) for each in node.elts]
        return lambda row: any(holds(row) for holds in equal) == wanted

    def _number(self, reader: Reader) -> Callable[[int], float]:
        def number(row: int) -> float:
            found = _as_number(reader(row))
            return math.nan if found is None else found

        return number

    def _truth(self, reader: Reader, node: ast.AST) -> Callable[[int], bool]:
        if isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return reader

        def truth(row: int) -> bool:
            value = reader(row)
            flag = as_flag(value)
            if flag is None:
                number = _as_number(value)
                if number is None and not is_empty(value):
                    raise self.error(
                        f"{self.table.name_rows([row])}: {short(value)} is neither true nor false; compare "
                        "it, such as corpus == 'c4'"
                    )
                return bool(number)
            return flag

        return truth


def _compared(op: type[ast.cmpop], first: Reader, second: Reader) -> Callable[[int], bool]:
    compare = _COMPARISONS[op]

    def holds(row: int) -> bool:
        pair = _alike(first(row), second(row))
        return op is ast.NotEq if pair is None else compare(*pair)

    return holds


def _alike(one: Value, other: Value) -> tuple[Any, Any] | None:
    """Both as numbers, as truth values or as texts; None where they cannot be compared.

    A bool or a number beside a cell decides as what the cell is read; two cells are numbers if they can be.
    """
    if is_empty(one) or is_empty(other):
        return ("", "") if is_empty(one) and is_empty(other) else None
    if isinstance(one, bool) or isinstance(other, bool):
        flags = as_flag(one), as_flag(other)
        return None if None in flags else flags
    texts = isinstance(one, str) and isinstance(other, str)
    numbers = [_plain_number(each) if texts else _as_number(each) for each in (one, other)]
    if None not in numbers:
        return numbers[0], numbers[1]
    if isinstance(one, float | int) or isinstance(other, float | int):
        return None
    return _text(one), _text(other)


def _as_number(value: Value) -> float | None:
    """A cell as a number, "1.3B" and "1,300,000,000" too; None where it is none, NaN included."""
    number = _plain_number(value)
    if number is None and isinstance(value, str):
        text = value.strip()
        if scaled := _SCALED.fullmatch(text):
            return float(f"{scaled[1]}e{_SCALES[scaled[2].casefold()]}")  # in one rounding
        if _THOUSANDS.fullmatch(text):
            return float(re.sub(r"[, ]", "", text))
    return number


def _plain_number(value: Value) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value.strip().replace("_", "x") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None
    return None if math.isnan(number) else number


def _text(value: Value) -> str:
    return "" if is_empty(value) else str(value).strip()
