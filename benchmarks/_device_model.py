"""What a step of the engine costs on an H200, read from its compiled text: kernels, traffic, arithmetic.

A prediction, no measurement. Every instruction of a loop's body that becomes a kernel takes the longest of
what its traffic, its arithmetic and its launch take; of a condition the dearer side is taken, loops inside
take all of their rounds. Traffic is what a kernel reads and writes; of a table that places pick their runs
from (conditions or rows by runs) every place reads its own row. The figures below are the vendor's, with four
fifths of the bandwidth, and what launches take inside CUDA graphs by others' measurements.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
import re

BANDWIDTH = 0.8 * 4.8e12  # bytes per second
RATE = {"f32": 0.5 * 67e12, "f64": 0.5 * 34e12}  # operations per second
LAUNCH, TURN = 1.5e-6, 5e-6  # seconds of a kernel, and of a turn of a loop, inside a graph
LINK = 50e9  # bytes per second between host and device
CALL = 200e-6  # seconds to begin a call and to wait for its end
_FUNCTIONS = {
    "exponential": 20,
    "log": 25,
    "divide": 8,
    "sqrt": 8,
    "power": 60,
    "tanh": 30,
    "log-plus-one": 25,
}
_FREE = {
    "parameter", "tuple", "get-tuple-element", "constant", "bitcast", "broadcast", "reshape", "iota",
    "after-all", "opt-barrier", "call",
}  # fmt: skip
_BYTES = {"pred": 1, "u8": 1, "s8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_HEADER = re.compile(r"^(?:ENTRY )?(%[\w.\-]+) \(.*\{$", re.M)
_LINE = re.compile(r"^\s*(?:ROOT )?(%[\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_SHAPE = re.compile(r"(pred|[usf]\d+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Step:
    """One turn of a loop over T places.

    Attributes:
        kernels: that are launched.
        traffic: bytes.
        operations: by the kind of number.
        seconds: predicted.
    """

    kernels: int
    traffic: float
    operations: float
    seconds: float

    def __add__(self, other: Step) -> Step:
        """Both, one after the other."""
        return Step(
            *(x + y for x, y in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True))
        )


_NOTHING = Step(0, 0.0, 0.0, 0.0)


class Program:
    """A compiled call as text."""

    def __init__(self, text: str, runs: int) -> None:
        """Sort the instructions by computation."""
        self._places, self._runs = 0, runs
        self._instructions: dict[str, dict[str, tuple[str, str, str]]] = {}
        current: dict[str, tuple[str, str, str]] = {}
        for line in text.splitlines():
            header = _HEADER.match(line)
            if header:
                current = self._instructions.setdefault(header[1], {})
                continue
            found = _LINE.match(line)
            if found:
                current[found[1]] = (found[2], found[3], found[4])

    def steps(self) -> dict[tuple[str, int], Step]:
        """A step of each loop over the places, by the kind of number and by how many places there are."""
        found = {}
        loops = [
            (name, result, rest)
            for name, computation in self._instructions.items()
            for result, opcode, rest in computation.values()
            if opcode == "while"
        ]
        inside = {called for _, _, rest in loops for called in self._below(_called(rest, "body"))}
        for name, result, rest in loops:
            if name in inside:
                continue
            body = _called(rest, "body")
            kinds = {kind for kind, _ in _SHAPE.findall(str(self._instructions[body]))}
            kind = "f64" if "f64" in kinds else "f32"
            states = [sizes.split(",") for of, sizes in _SHAPE.findall(result) if of == kind and "," in sizes]
            if not states:
                continue
            self._places = int(states[0][-1])  # of the trial points (p, T)
            found[kind, self._places] = (
                self._of(body) + self._of(_called(rest, "condition")) + Step(0, 0, 0, TURN)
            )
        return found

    def _below(self, name: str) -> set[str]:
        """The computation and all that it calls in turn."""
        found, todo = set(), [name]
        while todo:
            now = todo.pop()
            if now in found or now not in self._instructions:
                continue
            found.add(now)
            for _, _, rest in self._instructions[now].values():
                todo += re.findall(r"(?:condition|body|calls|to_apply|\w+_computation)=(%[\w.\-]+)", rest)
        return found

    def _of(self, name: str) -> Step:
        computation = self._instructions[name]
        whole = _NOTHING
        for result, opcode, rest in computation.values():
            if opcode == "conditional":
                several = re.search(r"branch_computations=\{(.*?)\}", rest)
                sides = re.findall(r"_computation=(%[\w.\-]+)", rest)
                sides += re.findall(r"%[\w.\-]+", several[1]) if several else []
                whole = whole + max((self._of(side) for side in sides), key=lambda step: step.seconds)
            elif opcode == "while":
                turn = self._of(_called(rest, "body")) + self._of(_called(rest, "condition"))
                turns = re.search(r'known_trip_count":\{"n":"(\d+)"', rest)
                for _ in range(int(turns[1]) if turns else 1):
                    whole = whole + turn + Step(0, 0, 0, TURN)
            elif opcode not in _FREE:
                whole = whole + self._kernel(computation, result, opcode, rest)
        return whole

    def _kernel(
        self, computation: dict[str, tuple[str, str, str]], result: str, opcode: str, rest: str
    ) -> Step:
        operands = re.findall(r"%[\w.\-]+", rest.split("), ")[0])
        traffic = self._touched(result) + sum(
            self._touched(computation[each][0]) for each in operands if each in computation
        )
        work = self._work(_called(rest, "calls")) if opcode == "fusion" else {"f32": float(_count(result))}
        seconds = max(LAUNCH, traffic / BANDWIDTH, sum(n / RATE[kind] for kind, n in work.items()))
        return Step(1, traffic, sum(work.values()), seconds)

    def _touched(self, shape: str) -> float:
        """Bytes that a kernel reads or writes of an array: a row for each place of what all lanes have."""
        total = 0.0
        for kind, sizes in _SHAPE.findall(shape):
            numbers = [int(size) for size in sizes.split(",") if size]
            if len(numbers) == 2 and numbers[1] == self._runs:
                numbers[0] = self._places
            total += _BYTES.get(kind, 4) * math.prod(min(number, self._places) for number in numbers)
        return total

    def _work(self, name: str) -> dict[str, float]:
        """Arithmetic of a fused computation, by the kind of number."""
        found = {"f32": 0.0, "f64": 0.0}
        for result, opcode, _ in self._instructions.get(name, {}).values():
            if opcode in _FREE or opcode == "gather":
                continue
            for kind, sizes in _SHAPE.findall(result):
                count = math.prod(int(size) for size in sizes.split(",") if size)
                if opcode == "reduce":
                    count *= self._runs
                found["f64" if kind == "f64" else "f32"] += count * _FUNCTIONS.get(opcode, 1)
        return found


def turns(steps: list[int], places: int) -> int:
    """Turns of a loop whose places take lanes of so many steps in order, the next when one is done."""
    busy: list[int] = []
    for count in steps:
        heapq.heappush(busy, count + (heapq.heappop(busy) if len(busy) >= places else 0))
    return max(busy, default=0)


def _called(rest: str, name: str) -> str:
    found = re.search(rf"\b{name}=(%[\w.\-]+)", rest)
    return found[1] if found else ""


def _count(shape: str) -> int:
    return sum(
        math.prod(int(size) for size in sizes.split(",") if size) for _, sizes in _SHAPE.findall(shape)
    )
