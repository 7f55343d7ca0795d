"""Filters by columns: `price < 20000 and city == "Bonn"`, read by a grammar of its own; nothing in a filter is run.

    filter      any ("and" | "or") any, "not" any, (any), or a comparison; "and" binds before "or"
    comparison  column == value, also != < <= > >=;  column in [value, value]
    column      file_name, label or a further column; `in backquotes` where it is more than letters, digits and _
    value       a number, or a text in "double" or 'single' quotes, in which \\ stands before a quote or a \\

A number is compared with the number that a cell holds; a cell that holds none is neither equal nor less nor more. A
text is compared letter by letter, so that dates such as 2024-05-31 come in their order.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from visim_models.errors import QueryError

__all__ = ["ColumnValues", "Equalities", "Where"]

_LONGEST: Final = 2000
_DEEPEST: Final = 50
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"""
    r"""|(?P<text>"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')"""
    r"""|`(?P<quoted>[^`]+)`|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|==|!=|[<>()\[\],]))"""
)
_WORDS: Final = frozenset({"and", "or", "not", "in"})
_ORDERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_Mask: TypeAlias = npt.NDArray[np.bool_]
_Value: TypeAlias = float | str

Equalities: TypeAlias = list[list[tuple[str, str]]]
"""Groups of columns and texts."""


class ColumnValues:
    """The columns of N pictures as arrays, each made when it is first asked for.

    Args:
        columns: gives name -> N texts, as they are now: who owns a gallery may replace a column.
    """

    def __init__(self, columns: Callable[[], Mapping[str, Sequence[str]]]) -> None:
        self._columns = columns
        self._made: dict[tuple[str, type], tuple[Sequence[str], npt.NDArray[np.object_] | npt.NDArray[np.float64]]] = {}

    def of(self, column: str, kind: type) -> npt.NDArray[np.object_] | npt.NDArray[np.float64]:
        """Return (N,) values of a column: `str`, or `float` with NaN for what is no number.

        Raises:
            QueryError: there is no such column.
        """
        values = self._column(column)
        made = self._made.get((column, kind))
        if made is None or made[0] is not values:
            array = np.array([_number(value) for value in values]) if kind is float else np.array(values, object)
            made = self._made[column, kind] = values, array
        return made[1]

    def _column(self, name: str) -> Sequence[str]:
        known = self._columns()
        if name not in known:
            raise QueryError(
                f"The gallery has no column {name!r} to filter by: it has {', '.join(known)}.", key="where"
            )
        return known[name]


@dataclass(frozen=True)
class _Comparison:
    column: str
    sign: str
    values: tuple[_Value, ...]

    def mask(self, columns: ColumnValues) -> _Mask:
        masks = [_ORDERS[self.sign](columns.of(self.column, type(value)), value) for value in self.values]
        return np.asarray(np.any(masks, axis=0), bool)

    def equalities(self) -> "Equalities | None":
        is_told = self.sign == "==" and all(isinstance(value, str) for value in self.values)
        return [[(self.column, str(value)) for value in self.values]] if is_told else None


@dataclass(frozen=True)
class _Not:
    part: "_Node"

    def mask(self, columns: ColumnValues) -> _Mask:
        return ~self.part.mask(columns)

    def equalities(self) -> "Equalities | None":
        return None


@dataclass(frozen=True)
class _All:
    """All of some parts hold, or any."""

    parts: tuple["_Node", ...]
    is_any: bool = False

    def mask(self, columns: ColumnValues) -> _Mask:
        masks = [part.mask(columns) for part in self.parts]
        return np.asarray(np.any(masks, axis=0) if self.is_any else np.all(masks, axis=0), bool)

    def equalities(self) -> "Equalities | None":
        found = [part.equalities() for part in self.parts]
        if not self.is_any:
            return [group for each in found if each for group in each] or None
        if any(each is None or len(each) != 1 for each in found):
            return None
        return [[pair for each in found if each for pair in each[0]]]


_Node: TypeAlias = "_Comparison | _Not | _All"


@dataclass(frozen=True)
class Where:
    """A filter that was read.

    Attributes:
        text: as it was written.

    Example:
        >>> Where.parse("price < 20000 and city == 'Bonn'").mask(ColumnValues(texts.by_column))
        array([ True, False, ...])
    """

    text: str
    _root: _Node

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a filter.

        Raises:
            QueryError: it is no filter; the message points to where.
        """
        if len(text) > _LONGEST:
            raise QueryError(f"The filter has more than {_LONGEST:,} letters.", key="where")
        return cls(text, _Parser(text).whole())

    def mask(self, columns: ColumnValues) -> _Mask:
        """Return which of N pictures it lets through, (N,).

        Raises:
            QueryError: it names a column that there is not.
        """
        return self._root.mask(columns)

    def equalities(self) -> "Equalities":
        """Return what an engine can be asked for: what the filter lets through has, of each group, one of its pairs."""
        return self._root.equalities() or []


class _Parser:
    """Reads a filter from left to right, a token ahead."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._kind, self._token = "", ""
        self._next()

    def whole(self) -> _Node:
        node = self._any()
        if self._kind:
            raise self._error("and, or, or the end")
        return node

    def _any(self) -> _Node:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else _All(tuple(parts), is_any=True)

    def _all(self) -> _Node:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def _one(self) -> _Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError(f"The filter is nested more than {_DEEPEST} times.", key="where")
        try:
            if self._take("not"):
                return _Not(self._one())
            if self._take("("):
                node = self._any()
                self._expect(")")
                return node
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> _Node:
        if self._kind != "column":
            raise self._error("a column")
        column = self._next()
        if self._take("in"):
            self._expect("[")
            values = [self._value()]
            while self._take(","):
                values.append(self._value())
            self._expect("]")
            return _Comparison(column, "==", tuple(values))
        if self._token not in _ORDERS or self._kind != "sign":
            raise self._error("== != < <= > >= or in")
        return _Comparison(column, self._next(), (self._value(),))

    def _value(self) -> _Value:
        if self._kind not in ("number", "text"):
            raise self._error("a number, or a text in quotes")
        kind, token = self._kind, self._next()
        return float(token) if kind == "number" else re.sub(r"\\(.)", r"\1", token[1:-1])

    def _take(self, sign: str) -> bool:
        is_there = self._kind == "sign" and self._token == sign
        if is_there:
            self._next()
        return is_there

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._error(sign)

    def _next(self) -> str:
        """Step to the next token; return the one before."""
        before = self._token
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            if self._text[self._at :].strip():
                raise QueryError(
                    f"The filter cannot be read at {self._text[self._at :].strip()[:20]!r}: texts stand in quotes, "
                    "columns of several words in backquotes.",
                    key="where",
                )
            self._kind = self._token = ""
            return before
        self._at = found.end()
        kind, token = next((name, text) for name, text in found.groupdict().items() if text is not None)
        is_word = kind == "word" and token.lower() in _WORDS
        self._kind = "sign" if is_word else "column" if kind in ("word", "quoted") else kind
        self._token = token.lower() if is_word else token
        return before

    def _error(self, expected: str) -> QueryError:
        found = repr(self._token) if self._kind else "the end"
        return QueryError(f"The filter {self._text[:80]!r} has {found} where {expected} must stand.", key="where")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
