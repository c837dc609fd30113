"""Turns one expression of the rule language into DuckDB SQL with the meaning that Stream Analytics gives it.

Every kind of expression is named in a table here; what is not in a table is refused with its place. Types
are checked, so that neither engine gets to convert anything by rules of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from dangol.adapters.casts import cast_column
from dangol.errors import BadRule

__all__ = ["ANY", "FUNCTIONS", "Expressions", "Value", "Virtual", "refuse"]

ANY, NULL, BOOLEAN = "any", "null", "boolean"
NUMBERS = frozenset({"bigint", "float"})

FUNCTIONS = frozenset(
    ("TRY_CAST", "CAST", "TRIM", "LTRIM", "RTRIM", "SUBSTRING", "LEFT", "RIGHT", "UPPER", "LOWER", "REPLACE")
    + ("CONCAT", "COALESCE", "ABS", "FLOOR", "CEILING", "DATEADD", "NVARCHAR")
)
"""All functions (and types with brackets) of the language that mean the same on both sides."""

_TYPES = {"NVARCHAR": "text", "BIGINT": "bigint", "FLOAT": "float", "DATETIME": "datetime"}
_SQL_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "float": "DOUBLE", "datetime": "BIGINT"}
_UNITS_US = {"SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000, "DAY": 86_400_000_000}

_COMPARE: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
_LOGIC: dict[type[exp.Expr], str] = {exp.And: "AND", exp.Or: "OR"}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_TEXT_FUNCTIONS: dict[type[exp.Expr], str] = {exp.Upper: "upper", exp.Lower: "lower"}
_NUMBER_FUNCTIONS: dict[type[exp.Expr], str] = {exp.Abs: "abs", exp.Floor: "floor", exp.Ceil: "ceil"}

Virtual = tuple[str, tuple[str, ...]]
"""An input field and the casts and trims done to it, in order: computed on whole columns outside SQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A compiled expression: SQL text, type, the columns it needs, and the input fields it comes from.

    `source` is set while nothing but casts and trims of one input field has happened.
    """

    sql: str
    type: str
    needs: frozenset[str] = frozenset()
    inputs: tuple[str, ...] = ()
    source: Virtual | None = None


def refuse(node: exp.Expr | None, what: str) -> BadRule:
    """Build the error that says `what` is wrong at the place of `node` in the rule file."""
    found = [part.meta for part in (node.walk() if node is not None else ()) if "line" in part.meta]
    places = [(meta["line"], meta["col"] - (meta["end"] - meta["start"])) for meta in found]
    where = f"line {min(places)[0]}, column {min(places)[1]}: " if places else ""
    text = f" in `{node.sql(dialect='tsql')}`" if node is not None else ""
    message = f"the cleanse file, {where}{what}{text}; see docs/cleanse.md for what runs on both sides"
    return BadRule(message)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _joined(parts: list[Value], sql: str, kind: str) -> Value:
    inputs = tuple(dict.fromkeys(name for part in parts for name in part.inputs))
    return Value(sql=sql, type=kind, needs=frozenset().union(*(part.needs for part in parts)), inputs=inputs)


class Expressions:
    """Compiles expressions; `column` finds a name in the step at hand, `virtual` adds an input column."""

    def __init__(
        self, column: Callable[[exp.Column], Value], virtual: Callable[[Virtual, str], Value]
    ) -> None:
        self._column = column
        self._virtual = virtual
        self._table: dict[type[exp.Expr], Callable[..., Value]] = {
            exp.Column: column,
            exp.Literal: self._literal,
            exp.Null: lambda node: Value(sql="NULL", type=NULL),
            exp.Paren: lambda node: self.compile(node.this),
            exp.Not: self._not,
            exp.Neg: self._negative,
            exp.Is: self._is_null,
            exp.In: self._in,
            exp.Between: self._between,
            exp.Like: self._like,
            exp.Div: self._divide,
            exp.Case: self._case,
            exp.TryCast: self._try_cast,
            exp.Cast: self._cast,
            exp.Trim: self._trim,
            exp.Substring: self._substring,
            exp.Left: self._end_of_text,
            exp.Right: self._end_of_text,
            exp.Replace: self._replace,
            exp.Concat: self._concat,
            exp.Coalesce: self._coalesce,
            exp.DateAdd: self._date_add,
        }
        self._table.update(dict.fromkeys(_COMPARE, self._compare) | dict.fromkeys(_LOGIC, self._logic))
        self._table.update(dict.fromkeys(_ARITHMETIC, self._arithmetic))
        self._table.update(dict.fromkeys(_TEXT_FUNCTIONS, self._text_function))
        self._table.update(dict.fromkeys(_NUMBER_FUNCTIONS, self._number_function))

    def compile(self, node: exp.Expr) -> Value:
        """Compile `node`, or raise BadRule where it is not part of the language."""
        handler = self._table.get(type(node))
        if handler is None:
            raise refuse(node, f"{type(node).__name__} is not supported")
        value: Value = handler(node)
        return value

    def condition(self, node: exp.Expr) -> Value:
        """Compile a condition."""
        return self._of(node, BOOLEAN)

    def cast(self, value: Value, kind: str, node: exp.Expr) -> Value:
        """Give `value` as `kind`, null where it is not one."""
        if value.source is not None:
            field, done = value.source
            return value if done and value.type == kind else self._virtual((field, (*done, kind)), kind)
        if value.type in (kind, NULL):
            return (
                Value(sql=f"CAST({value.sql} AS {_SQL_TYPES[kind]})", type=kind)
                if value.type == NULL
                else value
            )
        sql = {
            ("text", "bigint"): "dangol_bigint({0})",
            ("text", "float"): "dangol_float({0})",
            ("text", "datetime"): "dangol_datetime({0})",
            ("bigint", "float"): "CAST({0} AS DOUBLE)",
            ("bigint", "text"): "CAST({0} AS VARCHAR)",
            ("float", "bigint"): "CASE WHEN floor({0}) = {0} AND abs({0}) <= 9007199254740992 "
            "THEN CAST({0} AS BIGINT) END",
        }.get((value.type, kind))
        if sql is None:
            raise refuse(node, f"a {value.type} cannot be cast to {kind}")
        return _joined([value], sql.format(value.sql), kind)

    def _of(self, node: exp.Expr, *kinds: str) -> Value:
        value = self.compile(node)
        if value.type not in kinds and value.type != NULL:
            hint = "cast it with TRY_CAST first" if value.type == ANY else f"it is {value.type}"
            raise refuse(node, f"needs {' or '.join(kinds)}, but {hint}")
        return value

    def _same(self, nodes: list[exp.Expr]) -> tuple[list[Value], str]:
        """Compile `nodes`, which must be of one type (bigint and float together are float)."""
        values = [self.compile(node) for node in nodes]
        for value, node in zip(values, nodes, strict=True):
            if value.type == ANY:
                raise refuse(node, "an input field needs a TRY_CAST before it is used")
        kinds = {value.type for value in values} - {NULL}
        if kinds == NUMBERS:
            return values, "float"
        if len(kinds) > 1:
            raise refuse(nodes[0].parent, f"mixes {' and '.join(sorted(kinds))}")
        return values, kinds.pop() if kinds else NULL

    def _literal(self, node: exp.Literal) -> Value:
        if node.is_string:
            return Value(sql=_quoted(node.this), type="text")
        if node.this.isdigit():
            return Value(sql=node.this, type="bigint")
        number = repr(float(node.this))
        return Value(sql=number if "e" in number else number + "e0", type="float")

    def _negative(self, node: exp.Neg) -> Value:
        value = self._of(node.this, *NUMBERS)
        return _joined([value], f"TRY(-{value.sql})" if value.needs else f"-{value.sql}", value.type)

    def _not(self, node: exp.Not) -> Value:
        value = self._of(node.this, BOOLEAN)
        return _joined([value], f"(NOT {value.sql})", BOOLEAN)

    def _is_null(self, node: exp.Is) -> Value:
        if not isinstance(node.expression, exp.Null):
            raise refuse(node, "only IS NULL and IS NOT NULL are supported")
        value = self.compile(node.this)
        return _joined([value], f"({value.sql} IS NULL)", BOOLEAN)

    def _in(self, node: exp.In) -> Value:
        values, _ = self._same([node.this, *node.expressions])
        if len(values) < 2:
            raise refuse(node, "IN needs a list of values")
        return _joined(values, f"({values[0].sql} IN ({', '.join(v.sql for v in values[1:])}))", BOOLEAN)

    def _between(self, node: exp.Between) -> Value:
        values, _ = self._same([node.this, node.args["low"], node.args["high"]])
        return _joined(values, "({} BETWEEN {} AND {})".format(*(value.sql for value in values)), BOOLEAN)

    def _like(self, node: exp.Like) -> Value:
        pattern = node.expression
        if not isinstance(pattern, exp.Literal) or not pattern.is_string or "[" in pattern.this:
            raise refuse(node, "LIKE needs a fixed pattern with no more than % and _")
        value = self._of(node.this, "text")
        return _joined([value], f"({value.sql} LIKE {_quoted(pattern.this)})", BOOLEAN)

    def _compare(self, node: exp.Binary) -> Value:
        values, _ = self._same([node.this, node.expression])
        return _joined(values, f"({values[0].sql} {_COMPARE[type(node)]} {values[1].sql})", BOOLEAN)

    def _logic(self, node: exp.Binary) -> Value:
        values = [self._of(side, BOOLEAN) for side in (node.this, node.expression)]
        return _joined(values, f"({values[0].sql} {_LOGIC[type(node)]} {values[1].sql})", BOOLEAN)

    def _arithmetic(self, node: exp.Binary) -> Value:
        values, kind = self._same([node.this, node.expression])
        if kind not in NUMBERS:
            raise refuse(node, f"{_ARITHMETIC[type(node)]} needs numbers (CONCAT joins texts)")
        sql = f"({values[0].sql} {_ARITHMETIC[type(node)]} {values[1].sql})"
        return _joined(values, sql if kind == "float" else f"TRY{sql}", kind)

    def _divide(self, node: exp.Div) -> Value:
        values, kind = self._same([node.this, node.expression])
        if kind != "float":
            raise refuse(node, "/ needs a float on one side (whole-number division differs between engines)")
        return _joined(values, f"({values[0].sql} / NULLIF(CAST({values[1].sql} AS DOUBLE), 0))", "float")

    def _case(self, node: exp.Case) -> Value:
        branches = node.args["ifs"]
        fallback = node.args.get("default")
        conditions = [branch.this for branch in branches]
        if node.this is not None:
            subject, *keys = self._same([node.this, *conditions])[0]
            tests = [_joined([subject, key], f"({subject.sql} = {key.sql})", BOOLEAN) for key in keys]
        else:
            tests = [self._of(condition, BOOLEAN) for condition in conditions]
        results, kind = self._same([branch.args["true"] for branch in branches] + [fallback] * bool(fallback))
        arms = " ".join(
            f"WHEN {test.sql} THEN {result.sql}" for test, result in zip(tests, results, strict=False)
        )
        end = f" ELSE {results[-1].sql}" if fallback is not None else ""
        return _joined([*tests, *results], f"CASE {arms}{end} END", kind)

    def _target(self, node: exp.Cast) -> str:
        target = node.args["to"]
        kind = _TYPES.get(target.this.name)
        parameters = [part.sql().upper() for part in target.expressions]
        if kind is None or parameters != (["MAX"] if kind == "text" else []):
            raise refuse(node, "casts go to nvarchar(max), bigint, float or datetime")
        return kind

    def _try_cast(self, node: exp.TryCast) -> Value:
        return self.cast(self.compile(node.this), self._target(node), node)

    def _cast(self, node: exp.Cast) -> Value:
        kind = self._target(node)
        if not isinstance(node.this, exp.Literal):
            raise refuse(node, "CAST stops a job at the first bad line (write TRY_CAST)")
        value = cast_column(kind, pa.array([node.this.this]))[0].as_py()
        if value is None:
            raise refuse(node, f"the value is not a {kind}")
        sql = _quoted(value) if kind == "text" else repr(value)
        return Value(sql=sql if kind != "float" or "e" in sql else sql + "e0", type=kind)

    def _trim(self, node: exp.Trim) -> Value:
        if node.expression is not None:
            raise refuse(node, "TRIM takes one text")
        side = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position")), "trim")
        value = self._of(node.this, "text")
        if value.source is not None:
            field, done = value.source
            return self._virtual((field, (*done, side)), "text")
        return _joined([value], f"dangol_{side}({value.sql})", "text")

    def _whole(self, node: exp.Expr | None, least: int) -> str:
        if (
            not isinstance(node, exp.Literal)
            or node.is_string
            or not node.this.isdigit()
            or int(node.this) < least
        ):
            raise refuse(node, f"needs a whole number of at least {least} written out")
        return str(node.this)

    def _substring(self, node: exp.Substring) -> Value:
        value = self._of(node.this, "text")
        start, length = self._whole(node.args.get("start"), 1), self._whole(node.args.get("length"), 0)
        return _joined([value], f"substring({value.sql}, {start}, {length})", "text")

    def _end_of_text(self, node: exp.Left | exp.Right) -> Value:
        inner = (
            node.this.this if type(node.this) is exp.Cast else node.this
        )  # sqlglot's reader adds that cast
        value = self._of(inner, "text")
        name = "left" if isinstance(node, exp.Left) else "right"
        return _joined([value], f"{name}({value.sql}, {self._whole(node.expression, 0)})", "text")

    def _replace(self, node: exp.Replace) -> Value:
        values = [self._of(part, "text") for part in (node.this, node.expression, node.args["replacement"])]
        return _joined(values, "replace({}, {}, {})".format(*(value.sql for value in values)), "text")

    def _concat(self, node: exp.Concat) -> Value:
        values = [self._of(part, "text") for part in node.expressions]
        return _joined(values, f"concat({', '.join(value.sql for value in values)})", "text")

    def _coalesce(self, node: exp.Coalesce) -> Value:
        values, kind = self._same([node.this, *node.expressions])
        return _joined(values, f"coalesce({', '.join(value.sql for value in values)})", kind)

    def _text_function(self, node: exp.Func) -> Value:
        value = self._of(node.this, "text")
        return _joined([value], f"{_TEXT_FUNCTIONS[type(node)]}({value.sql})", "text")

    def _number_function(self, node: exp.Func) -> Value:
        value = self._of(node.this, *NUMBERS)
        sql = f"{_NUMBER_FUNCTIONS[type(node)]}({value.sql})"
        if value.type == "bigint":
            sql = f"TRY({sql})" if isinstance(node, exp.Abs) else value.sql
        return _joined([value], sql, value.type)

    def _date_add(self, node: exp.DateAdd) -> Value:
        unit = _UNITS_US.get(node.args["unit"].name.upper() if node.args.get("unit") else "")
        if unit is None:
            raise refuse(node, "DATEADD counts in second, minute, hour or day")
        value, count = self._of(node.this, "datetime"), self._of(node.expression, "bigint")
        return _joined([value, count], f"TRY({value.sql} + {count.sql} * {unit})", "datetime")
