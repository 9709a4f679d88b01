"""Filters that people type: `loss > 3 and text has "not"`.

    filter     = and-filter { "or" and-filter }
    and-filter = one { "and" one }
    one        = "not" one | "(" filter ")" | condition
    condition  = column compare value          compare is = != < <= > >=
               | column "between" number "and" number
               | column "has" text             the text is part of the column's, letters as they are
               | column "starts with" text | column "ends with" text
               | column "in" "(" value { "," value } ")"
               | column "is" ["not"] "missing"
    column     = name | `name with spaces`, with [place, ...] behind it for one number of an array
    value      = number | "text" | 'text' | true | false

A filter becomes a condition in SQL with the values as parameters: no text of a user is ever part of
the SQL, and names must be those of columns.
"""

import dataclasses
import difflib
import re
from typing import Callable, Mapping, NoReturn, Optional, Sequence, Union

Value = Union[float, str, bool]
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]+`)
      | (?P<compare><=|>=|!=|==|=|<|>)
      | (?P<mark>[()\[\],])
      | (?P<name>[^\W\d][\w.\-]*)
    )""",
    re.X,
)
_COMPARE = {"=": "=", "==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_DEEPEST = 50
_LONGEST = 10_000


class FilterError(ValueError):
    """A filter can't be read. The message says where, and what may stand there."""


@dataclasses.dataclass(frozen=True)
class Known:
    """A column that filters may name.

    Args:
        sql: how it is written in SQL; never of a user's text.
        kind: of its values: "number", "text" or "boolean".
    """

    sql: str
    kind: str


Lookup = Callable[[str, tuple[str, ...]], Known]
"""From a name, and the places behind it, to a column; a `KeyError` with a sentence for none."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """A filter in SQL.

    Args:
        sql: a condition with a `?` for each value.
        values: in their order.
    """

    sql: str
    values: tuple[Value, ...]


EVERYTHING = Condition("true", ())


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def parse_filter(text: str, lookup: Lookup) -> Condition:
    """A filter as a condition.

    Args:
        text: what was typed; empty for everything.
        lookup: of the columns.

    Raises:
        FilterError: it can't be read, or a column is not there or of another kind.
    """
    if not text.strip():
        return EVERYTHING
    if len(text) > _LONGEST:
        raise FilterError(f"the filter has {len(text):,} characters: at most {_LONGEST:,} are read")
    parser = _Parser(text, lookup)
    found = parser.any_of(0)
    parser.end()
    return found


class _Parser:
    def __init__(self, text: str, lookup: Lookup):
        self._text, self._lookup = text, lookup
        self._tokens = _tokens(text)
        self._next = 0

    def any_of(self, depth: int) -> Condition:
        return self._joined(depth, "or", self._all_of)

    def _all_of(self, depth: int) -> Condition:
        return self._joined(depth, "and", self._one)

    def _joined(self, depth: int, word: str, part: Callable[[int], Condition]) -> Condition:
        if depth > _DEEPEST:
            raise FilterError(f"the filter is nested more than {_DEEPEST} times")
        parts = [part(depth)]
        while self._takes(word):
            parts.append(part(depth))
        if len(parts) == 1:
            return parts[0]
        sql = f" {word} ".join(f"({each.sql})" for each in parts)
        return Condition(sql, tuple(value for each in parts for value in each.values))

    def _one(self, depth: int) -> Condition:
        if depth > _DEEPEST:
            raise FilterError(f"the filter is nested more than {_DEEPEST} times")
        if self._takes("not"):
            inner = self._one(depth + 1)
            return Condition(f"not coalesce({inner.sql}, false)", inner.values)
        if self._takes("("):
            inner = self.any_of(depth + 1)
            self._needs(")")
            return inner
        return self._condition()

    def _condition(self) -> Condition:
        name, column = self._column()
        token = self._take("a comparison such as > or has")
        if token.kind == "compare":
            if column.kind != "number" and token.text not in ("=", "==", "!="):
                self._refuse(token, f"{name} is {_noun(column)}: compare it by = or !=")
            value = self._value(column, name)
            return Condition(f"{column.sql} {_COMPARE[token.text]} ?", (value,))
        word = token.text.lower()
        if word == "between":
            low = self._number(column, name)
            self._needs("and")
            return Condition(f"{column.sql} between ? and ?", (low, self._number(column, name)))
        if word == "is":
            negated = self._takes("not")
            self._needs("missing")
            return Condition(f"{column.sql} is {'not ' if negated else ''}null", ())
        if word == "in":
            return self._in(column, name)
        if word in ("starts", "ends"):
            self._needs("with")
        elif word != "has":
            self._refuse(
                token,
                "a comparison may stand here: = != < <= > >=, between, has, starts with, ends "
                "with, in, is missing",
            )
        if column.kind != "text":
            self._refuse(token, f"{name} is {_noun(column)}, and `{word}` is for texts")
        function = {"has": "contains", "starts": "starts_with", "ends": "ends_with"}[word]
        return Condition(f"{function}({column.sql}, ?)", (self._text_value(),))

    def _in(self, column: Known, name: str) -> Condition:
        self._needs("(")
        values = [self._value(column, name)]
        while self._takes(","):
            values.append(self._value(column, name))
        self._needs(")")
        return Condition(f"{column.sql} in ({', '.join('?' * len(values))})", tuple(values))

    def _column(self) -> tuple[str, Known]:
        token = self._take("a column")
        if token.kind not in ("name", "quoted"):
            self._refuse(token, "a column's name may stand here")
        name = token.text.strip("`")
        places: list[str] = []
        if self._takes("["):
            places.append(self._place())
            while self._takes(","):
                places.append(self._place())
            self._needs("]")
        try:
            return name, self._lookup(name, tuple(places))
        except KeyError as error:
            self._refuse(token, str(error.args[0]))

    def _place(self) -> str:
        token = self._take("a place such as 3")
        if token.kind not in ("number", "text", "name"):
            self._refuse(token, "a place may stand here, such as 3")
        return _unquoted(token.text) if token.kind == "text" else token.text

    def _value(self, column: Known, name: str) -> Value:
        if column.kind == "number":
            return self._number(column, name)
        if column.kind == "boolean":
            token = self._take("true or false")
            if token.text.lower() not in ("true", "false"):
                self._refuse(token, f"{name} is true or false")
            return token.text.lower() == "true"
        return self._text_value()

    def _number(self, column: Known, name: str) -> float:
        token = self._take("a number")
        if column.kind != "number":
            self._refuse(token, f"{name} is {_noun(column)}, and no number")
        if token.kind != "number":
            self._refuse(token, f"{name} is a number: a number may stand here")
        return float(token.text)

    def _text_value(self) -> str:
        token = self._take('a text in quotes, such as "not"')
        if token.kind != "text":
            self._refuse(token, f'a text in quotes may stand here, such as "{token.text}"')
        return _unquoted(token.text)

    def _takes(self, word: str) -> bool:
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token.kind in ("name", "mark") and token.text.lower() == word:
                self._next += 1
                return True
        return False

    def _needs(self, word: str) -> None:
        if not self._takes(word):
            self._refuse(self._take(f"`{word}`"), f"`{word}` may stand here")

    def _take(self, what: str) -> _Token:
        if self._next == len(self._tokens):
            raise FilterError(f"the filter ends where {what} should stand")
        self._next += 1
        return self._tokens[self._next - 1]

    def end(self) -> None:
        """See that nothing is left."""
        if self._next < len(self._tokens):
            self._refuse(self._tokens[self._next], "`and` or `or` may stand here")

    def _refuse(self, token: _Token, what: str) -> NoReturn:
        raise FilterError(f"at character {token.place + 1}, {token.text!r}: {what}")


def _tokens(text: str) -> Sequence[_Token]:
    found, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            said = "a quote that is not closed" if text[start] in "\"'`" else repr(text[start])
            raise FilterError(f"at character {start + 1}: {said} can't be read")
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        place = match.end()
    return found


def _unquoted(text: str) -> str:
    return re.sub(
        r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text[1:-1]
    )


def _noun(column: Known) -> str:
    return {"number": "a number", "text": "a text", "boolean": "true or false"}[column.kind]


def lookup_in(columns: Mapping[str, Known], shown: Optional[Sequence[str]] = None) -> Lookup:
    """Finds columns by their names; those of arrays by name and places, as `name[1, 3]`."""

    def find(name: str, places: tuple[str, ...]) -> Known:
        full = f"{name}[{','.join(places)}]" if places else name
        if full in columns:
            return columns[full]
        if not places and any(each.startswith(f"{name}[") for each in columns):
            example = next(each for each in columns if each.startswith(f"{name}["))
            raise KeyError(f"{name} is an array: say which number of it, as {example}")
        several = [each for each in shown or () if each.endswith(f".{full}")]
        if several:
            raise KeyError(f"{full} is there of several: write {' or '.join(several[:4])}")
        near = difflib.get_close_matches(full, columns, n=1)
        listed = ", ".join(list(shown or columns)[:12])
        meant = f"did you mean {near[0]}?" if near else f"there are {listed}"
        raise KeyError(f"there is no column {full}: {meant}")

    return find
