"""Written code: a simulator that a language model wrote, run without trusting it.

Nothing is executed. The text is parsed, and a small part of Python is interpreted here: functions,
assignments, ``if``, ``for``, ``while``, arithmetic, tuples, and the functions of ``math`` that are
named below. Whatever else is written is refused with its line. Every number is a float. Steps are
counted, and what is put into lists counts as steps, too. With the depth and the size of the text
bounded, one call takes some milliseconds and some kilobytes at most.

The function is ``step(before, now, action)``: the states one step ago and now (pusher x y,
object x y, millimetres from the corner), and the pusher's velocity in mm/s. It returns the next
state. A step that fails, or that returns anything but four places, counts as unparsable, and so do
all steps after it.

Axes: W windows, H steps of history, L steps ahead.
"""

from __future__ import annotations

import ast
import contextlib
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.errors import FormatError
from armillary.words.language import PLACE_STEP_M, from_millimetres, to_millimetres

ENTRY = "step"
MOST_CHARACTERS = 20_000
_MOST_STEPS, _MOST_DEPTH, _MOST_LENGTH = 5_000, 20, 1_000
_MOST_MM = 1e6
_FAILURES = (ArithmeticError, TypeError, ValueError, LookupError, MemoryError)
_FENCED = re.compile(r"```(?:python|py)?\s*\n(.*?)(?:```|\Z)", re.DOTALL)

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
_MATH = {
    name: getattr(math, name)
    for name in (
        "sqrt", "hypot", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "exp", "log",
        "fabs", "floor", "ceil", "copysign", "dist", "radians", "degrees",
    )
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "tau": math.tau, "inf": math.inf}
_BUILT_IN: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: abs(float(value)),
    "bool": bool,
    "enumerate": lambda items: tuple((float(at), item) for at, item in enumerate(items)),
    "float": float,
    "int": lambda value: float(int(value)),
    "len": lambda items: float(len(items)),
    "list": tuple,
    "max": lambda *items: max(_numbers(items)),
    "min": lambda *items: min(_numbers(items)),
    "range": lambda *ends: tuple(map(float, _bounded(range(*map(int, ends))))),
    "round": lambda value, digits=0.0: round(float(value), int(digits)),
    "sum": lambda items: float(sum(_numbers((items,)))),
    "tuple": tuple,
    "zip": lambda *items: tuple(zip(*items, strict=False)),
}


@dataclass(frozen=True)
class WrittenSimulator:
    """A simulator as it was written.

    Attributes:
        functions: by name.
        constants: that the text gives names to outside of functions.
    """

    functions: Mapping[str, ast.FunctionDef]
    constants: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> WrittenSimulator:
        """Return the simulator in a text; a fenced block is preferred to what is around it.

        Raises:
            FormatError: it is too long, no Python, or has no function ``step``.
        """
        if len(text) > MOST_CHARACTERS:
            raise FormatError(
                f"A written simulator may have {MOST_CHARACTERS:,} characters, got {len(text):,}."
            )
        blocks = [block for block in _FENCED.findall(text) if f"def {ENTRY}" in block]
        try:
            tree = ast.parse(blocks[0] if blocks else text)
        except SyntaxError as error:
            said = f"{error.msg}, line {error.lineno}"
            raise FormatError(f"A written simulator is no Python: {said}.") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise FormatError(f"A written simulator is no Python: {error}.") from error
        functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
        if ENTRY not in functions:
            raise FormatError(f"A written simulator needs a function {ENTRY}(before, now, action).")
        constants: dict[str, Any] = {}
        run = _Run(functions, constants)
        for one in tree.body:  # what else stands there, such as an example, is of no use
            if isinstance(one, ast.Assign | ast.AnnAssign):
                with contextlib.suppress(*_FAILURES, RecursionError):
                    run.block([one], constants)
        return cls(functions, constants)

    def step(
        self, before: tuple[float, ...], now: tuple[float, ...], action: tuple[float, ...]
    ) -> tuple[float, float, float, float]:
        """Return the next state, millimetres.

        Raises:
            FormatError: it fails, takes too many steps, or returns anything but four numbers.
        """
        found = _Run(self.functions, self.constants).call(ENTRY, [before, now, action])
        whole = isinstance(found, tuple) and len(found) == 4
        if not whole or not all(_is_place(value) for value in found):
            raise FormatError("A written simulator returned something else than four places.")
        return found

    def ahead(
        self, states: Float[np.ndarray, "W H 4"], plans: Float[np.ndarray, "W L 2"]
    ) -> Float[np.ndarray, "W L 4"]:
        """Return the states that follow, metres; NaN from where it fails on."""
        found = np.full((*plans.shape[:2], 4), np.nan)
        millimetres = to_millimetres(states[:, -2:])
        for row, (before, now) in enumerate(millimetres.tolist()):
            before, now = tuple(before), tuple(now)
            for ahead, action in enumerate((plans[row] / PLACE_STEP_M).tolist()):
                try:
                    before, now = now, self.step(before, now, tuple(action))
                except FormatError:
                    break
                found[row, ahead] = now
        return from_millimetres(found)


class _Return(Exception):  # noqa: N818  # no error: a step of control
    def __init__(self, value: Any) -> None:
        self.value = value


class _Break(Exception):  # noqa: N818  # likewise
    pass


class _Continue(Exception):  # noqa: N818  # likewise
    pass


@dataclass
class _Run:
    """One run of the interpreter, with what is left of its bounds."""

    functions: Mapping[str, ast.FunctionDef]
    constants: Mapping[str, Any]
    left: int = _MOST_STEPS
    depth: int = 0
    _line: int = field(default=0, repr=False)

    def call(self, name: str, given: list[Any], named: Mapping[str, Any] | None = None) -> Any:
        """Return what a function of the text returns.

        Raises:
            FormatError: it fails.
        """
        wanted = self.functions[name].args
        names = [one.arg for one in wanted.args]
        if wanted.vararg or wanted.kwarg or wanted.kwonlyargs or wanted.posonlyargs:
            raise self._refused("parameters other than plain ones")
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise self._refused("functions that call each other so deeply")
        try:
            usual = zip(names[len(names) - len(wanted.defaults) :], wanted.defaults, strict=True)
            scope = {own: self.value(value, {}) for own, value in usual}
            scope |= {**dict(zip(names, given, strict=False)), **(named or {})}
            if len(given) > len(names) or {*scope} != {*names}:
                raise self._refused(f"a call of {name} with other parameters than it has")
            self.block(self.functions[name].body, scope)
        except _Return as found:
            return found.value
        except FormatError:
            raise
        except (_Break, _Continue) as error:
            raise self._refused("break or continue outside of a loop") from error
        except _FAILURES as error:
            raise FormatError(f"Line {self._line} of a written simulator: {error}.") from error
        except RecursionError as error:
            raise self._refused("expressions that are nested so deeply") from error
        finally:
            self.depth -= 1
        return None

    def block(self, body: list[ast.stmt], scope: dict[str, Any]) -> None:
        """Run statements one after another."""
        for statement in body:
            self._line = statement.lineno
            self._count(1)
            self._statement(statement, scope)

    def _statement(  # noqa: C901  # a case for each kind of statement
        self, statement: ast.stmt, scope: dict[str, Any]
    ) -> None:
        match statement:
            case ast.Assign(targets=targets, value=value):
                found = self.value(value, scope)
                for target in targets:
                    self._bind(target, found, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, self.value(value, scope), scope)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                scope[name] = self._binary(op, self._named(name, scope), self.value(value, scope))
            case ast.If(test=test, body=body, orelse=other):
                self.block(body if self.value(test, scope) else other, scope)
            case ast.For(target=target, iter=items, body=body, orelse=[]):
                self._loop(body, scope, self._each(target, self.value(items, scope), scope))
            case ast.While(test=test, body=body, orelse=[]):
                self._loop(body, scope, iter(lambda: bool(self.value(test, scope)), False))
            case ast.Return(value=value):
                raise _Return(None if value is None else self.value(value, scope))
            case ast.Break():
                raise _Break
            case ast.Continue():
                raise _Continue
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                raise self._refused(type(statement).__name__)

    def _loop(self, body: list[ast.stmt], scope: dict[str, Any], turns: Iterator[Any]) -> None:
        for _ in turns:
            self._count(1)
            try:
                self.block(body, scope)
            except _Continue:
                continue
            except _Break:
                break

    def _each(self, target: ast.expr, items: Any, scope: dict[str, Any]) -> Iterator[None]:
        for item in items:
            self._bind(target, item, scope)
            yield

    def _bind(self, target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        self._count(1)
        match target:
            case ast.Name(id=name):
                scope[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                if not isinstance(value, tuple) or len(value) != len(targets):
                    raise self._refused("an assignment of another number of values")
                for one, item in zip(targets, value, strict=True):
                    self._bind(one, item, scope)
            case _:
                raise self._refused("an assignment to anything but names")

    def value(  # noqa: C901  # a case for each kind of expression
        self, node: ast.expr, scope: dict[str, Any]
    ) -> Any:
        """Return the value of an expression."""
        self._count(1)
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=bool() as constant):
                return constant
            case ast.Constant(value=int() | float() as constant):
                return float(constant)
            case ast.Name(id=name):
                return self._named(name, scope)
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return self._list(self.value(item, scope) for item in items)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self.value(left, scope), self.value(right, scope))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(self.value(operand, scope))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(self.value(operand, scope))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self.value(operand, scope)
            case ast.BoolOp(op=op, values=values):
                found = False
                for one in values:
                    found = self.value(one, scope)
                    if bool(found) != isinstance(op, ast.And):
                        break
                return found
            case ast.Compare(left=left, ops=ops, comparators=rest):
                return self._compared(left, ops, rest, scope)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.value(body if self.value(test, scope) else other, scope)
            case ast.Subscript(value=items, slice=ast.Slice() as part):
                whole = self.value(items, scope)
                ends = [part.lower, part.upper, part.step]
                return self._list(
                    whole[slice(*[end and int(self.value(end, scope)) for end in ends])]
                )
            case ast.Subscript(value=items, slice=at):
                return self.value(items, scope)[int(self.value(at, scope))]
            case ast.ListComp(elt=item, generators=parts):
                return self._list(self._items(item, parts, scope))
            case ast.GeneratorExp(elt=item, generators=parts):
                return self._list(self._items(item, parts, scope))
            case ast.Call(func=function, args=given, keywords=named):
                return self._called(function, given, named, scope)
        raise self._refused(type(node).__name__)

    def _items(
        self, item: ast.expr, parts: list[ast.comprehension], scope: dict[str, Any]
    ) -> Iterator[Any]:
        own = dict(scope)
        (part, *rest) = parts
        for one in self.value(part.iter, own):
            self._bind(part.target, one, own)
            if all(self.value(test, own) for test in part.ifs):
                if rest:
                    yield from self._items(item, rest, own)
                else:
                    yield self.value(item, own)

    def _called(
        self,
        function: ast.expr,
        given: list[ast.expr],
        named: list[ast.keyword],
        scope: dict[str, Any],
    ) -> Any:
        values = [self.value(one, scope) for one in given]
        self._count(sum(len(one) for one in values if isinstance(one, tuple)))  # that are walked
        match function:
            case ast.Name(id=name) if name in self.functions:
                keywords = {str(one.arg): self.value(one.value, scope) for one in named}
                return self.call(name, values, keywords)
            case ast.Name(id=name) if name in _BUILT_IN and not named:
                found = _BUILT_IN[name](*values)
                return self._list(found) if isinstance(found, tuple) else found
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name) if (
                name in _MATH and not named
            ):
                return self._number(float(_MATH[name](*values)))
        raise self._refused(f"a call of {ast.unparse(function)[:40]}")

    def _compared(
        self, left: ast.expr, ops: list[ast.cmpop], rest: list[ast.expr], scope: dict[str, Any]
    ) -> bool:
        first = self.value(left, scope)
        for op, other in zip(ops, rest, strict=True):
            second = self.value(other, scope)
            if type(op) not in _COMPARE or isinstance(first, tuple) or isinstance(second, tuple):
                raise self._refused(f"a comparison {type(op).__name__} of {type(first).__name__}")
            if not _COMPARE[type(op)](first, second):
                return False
            first = second
        return True

    def _binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        if type(op) not in _BINARY:
            raise self._refused(type(op).__name__)
        if isinstance(op, ast.Add) and isinstance(left, tuple) and isinstance(right, tuple):
            return self._list((*left, *right))
        return self._number(_BINARY[type(op)](self._number(left), self._number(right)))

    def _number(self, value: Any) -> float:
        if isinstance(value, bool):
            return float(value)
        if not isinstance(value, float):  # a root of a negative number is complex
            raise self._refused(f"arithmetic with {type(value).__name__}")
        return value

    def _named(self, name: str, scope: dict[str, Any]) -> Any:
        for known in (scope, self.constants, _CONSTANTS):
            if name in known:
                return known[name]
        raise self._refused(f"the unknown name {name[:40]}")

    def _list(self, items: Iterable[Any]) -> tuple[Any, ...]:
        """Return a list, whose items count as steps."""
        found = []
        for item in items:
            self._count(1)
            found.append(item)
        return tuple(found)

    def _count(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise self._refused(f"more than {_MOST_STEPS:,} steps")

    def _refused(self, what: str) -> FormatError:
        return FormatError(f"Line {self._line} of a written simulator has {what}.")


def _bounded(items: Any) -> Any:
    if len(items) > _MOST_LENGTH:
        raise FormatError(f"A written simulator has a list of more than {_MOST_LENGTH:,} items.")
    return items


def _numbers(items: tuple[Any, ...]) -> tuple[float, ...]:
    """Return numbers, given one by one or as one list.

    Lists of lists are refused: to compare those that share their parts takes exponential time.
    """
    flat = items[0] if len(items) == 1 and isinstance(items[0], tuple) else items
    if not all(isinstance(one, float | bool) for one in flat):
        raise FormatError("A written simulator asks for the largest, least or sum of no numbers.")
    return flat


def _is_place(value: Any) -> bool:
    return isinstance(value, float) and abs(value) <= _MOST_MM
