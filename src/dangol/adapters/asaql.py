"""Reads the cleanse file (Azure Stream Analytics query language) and compiles it for the embedded engine.

Rules look at one line at a time, so all steps of the file become one pipeline with a verdict at its end: a
step is a set of expressions over earlier ones, a WHERE a condition that is carried along, an output one
more condition. What an output only casts, trims or copies from an input field never passes through SQL:
it is computed on whole columns (`casts.py`). What both sides do not run alike is refused by name and place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.dialects.tsql import TSQL
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from dangol.adapters.asaql_expressions import ANY, FUNCTIONS, Expressions, Value, Virtual, refuse
from dangol.core.cleanse import ACCEPTED, ANONYMOUS, COLUMNS, OPTIONAL, OUTPUTS, REJECTED, UNMATCHED
from dangol.errors import BadRule

__all__ = ["Program", "compile_rules"]

_REFUSED = frozenset(
    ("JOIN", "GROUP", "ORDER", "HAVING", "UNION", "EXCEPT", "INTERSECT", "DISTINCT", "TOP", "OVER")
    + ("PARTITION", "APPLY", "LIMIT", "CREATE", "DECLARE")
)
_BEFORE_BRACKET = frozenset(
    (
        "AND",
        "OR",
        "NOT",
        "IN",
        "AS",
        "WHEN",
        "THEN",
        "ELSE",
        "CASE",
        "WHERE",
        "SELECT",
        "BETWEEN",
        "LIKE",
        "FROM",
    )
)
_SELECT_PARTS = frozenset({"expressions", "from_", "where", "into", "with_"})
_OUTPUT_TYPES = {"accepted": COLUMNS, "anonymous": COLUMNS, "rejected": {"reason": "text", "field": "text"}}
_VERDICTS = {
    "rejected": REJECTED,
    "anonymous": ANONYMOUS,
    "accepted": ACCEPTED,
}  # the first that takes a line wins


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A compiled rule file.

    `scan` names the columns that `statement` reads from the table `lines` (beside `_row`), `direct` the
    output columns that are made from an input field alone, `computed` those that the statement returns. The
    statement returns `_row, _verdict, _reason, _field` of the lines that are not accepted, or of all if it
    computes columns.
    """

    input_fields: tuple[str, ...]
    scan: Mapping[str, tuple[Virtual, str]]
    statement: str
    direct: Mapping[str, Virtual]
    computed: tuple[str, ...]
    input_names: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class _Step:
    """A named set of columns, of the lines for which `keep` holds (None: all)."""

    columns: dict[str, Value] = field(default_factory=dict)
    keep: Value | None = None


def compile_rules(text: str) -> Program:
    """Compile the rule file `text`, or raise BadRule with the place of what cannot run."""
    return _Compiler().run(_statements(text))


def _statements(text: str) -> list[exp.Select]:
    """Parse each SELECT of the file; the first carries the WITH steps."""
    dialect = TSQL()
    try:
        tokens = dialect.tokenize(text)
        _check_tokens(tokens)
        starts = [0, *_later_selects(tokens), len(tokens)]
        parts = [tokens[a:b] for a, b in zip(starts, starts[1:], strict=False) if a < b]
        parsed = [tree for part in parts for tree in dialect.parser().parse(part, text)]
    except SqlglotError as error:
        raise BadRule(_not_valid(error)) from error
    trees = [tree for tree in parsed if tree is not None]
    for tree in trees:
        if not isinstance(tree, exp.Select):
            raise refuse(
                tree, f"{type(tree).__name__} is not supported (only WITH steps and SELECT ... INTO)"
            )
    return [tree for tree in trees if isinstance(tree, exp.Select)]


def _not_valid(error: SqlglotError) -> str:
    for found in getattr(error, "errors", ()):
        where = f"line {found['line']}, column {found['col']}"
        return f"the cleanse file, {where}: cannot be read near `{found['highlight']}`; correct it there"
    return f"the cleanse file cannot be read: {str(error).splitlines()[0]}; correct it"


def _at(token: Token, what: str) -> BadRule:
    place = f"line {token.line}, column {max(1, token.col - len(token.text) + 1)}"
    return BadRule(f"the cleanse file, {place}: {what}; see docs/cleanse.md for what runs on both sides")


def _check_tokens(tokens: list[Token]) -> None:
    """Refuse words and functions outside the language while their place is still known."""
    for token, after in zip(tokens, [*tokens, None][1:], strict=True):
        if token.token_type in (TokenType.IDENTIFIER, TokenType.STRING, TokenType.NATIONAL_STRING):
            continue
        word, follows = token.text.upper(), after.text.upper() if after is not None else ""
        if word == "TIMESTAMP" and follows == "BY":
            raise _at(token, "TIMESTAMP BY is refused: a replay of old lines would drop all of them as late")
        if word.split(maxsplit=1)[0] in _REFUSED:  # the words of GROUP BY come as one
            raise _at(token, f"{word} is refused: rules look at one line at a time")
        called = follows == "(" and (word[:1].isalpha() or word[:1] == "_")
        if called and word not in FUNCTIONS and word not in _BEFORE_BRACKET:
            raise _at(token, f"the function {token.text} is not supported")


def _later_selects(tokens: list[Token]) -> list[int]:
    """Find each further SELECT outside brackets: Stream Analytics needs no semicolons."""
    depth = 0
    found = []
    for place, token in enumerate(tokens):
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if token.token_type == TokenType.SELECT and depth == 0:
            found.append(place)
    return found[1:]


class _Compiler:
    """Compiles the statements of one file; the columns of all steps live side by side in one pipeline."""

    def __init__(self) -> None:
        self._inputs: dict[str, None] = {}
        self._input_table = ""
        self._scan: dict[Virtual, tuple[str, str]] = {}
        self._steps: dict[str, _Step] = {}
        self._levels: list[dict[str, Value]] = []
        self._outputs: dict[str, _Step] = {}

    def run(self, statements: list[exp.Select]) -> Program:
        """Compile all steps, then all outputs, then what becomes of them."""
        for place, statement in enumerate(statements):
            steps = statement.args.get("with_")
            if steps is not None and place:
                raise refuse(statement, "only the first SELECT may have WITH")
            for step in steps.expressions if steps is not None else ():
                self._add_step(step)
        for statement in statements:
            self._add_output(statement)
        missing = [name for name in OUTPUTS if name not in self._outputs]
        if missing:
            message = f"the cleanse file has no SELECT ... INTO [{missing[0]}]; it needs {', '.join(OUTPUTS)}"
            raise BadRule(message)
        return self._program()

    def _add_step(self, node: exp.CTE) -> None:
        name = node.alias.lower()
        if name in self._steps or not isinstance(node.this, exp.Select):
            raise refuse(node.args["alias"], "a step needs a name of its own and a SELECT")
        if node.this.args.get("into") is not None:
            raise refuse(node.this, "a step has no INTO")
        step = self._select(node.this)
        level: dict[str, Value] = {}
        self._steps[name] = _Step(
            columns={column: self._placed(value, level) for column, value in step.columns.items()},
            keep=None if step.keep is None else self._placed(step.keep, level),
        )
        self._levels.append(level)

    def _placed(self, value: Value, level: dict[str, Value]) -> Value:
        """Give a computed value a column of the pipeline, so that it is computed once."""
        if value.source is not None or not value.needs:
            return value
        name = f"s{len(self._levels)}c{len(level)}"
        level[name] = value
        return Value(sql=name, type=value.type, needs=frozenset({name}), inputs=value.inputs)

    def _add_output(self, node: exp.Select) -> None:
        into = node.args.get("into")
        if into is None:
            raise refuse(node.expressions[0], "a SELECT outside the steps needs INTO")
        name = into.this.name.lower()
        if name not in OUTPUTS or name in self._outputs:
            raise refuse(into, f"the outputs are {', '.join(OUTPUTS)}, each written once")
        step = self._select(node)
        known = _OUTPUT_TYPES[name]
        for column, kind in known.items():
            if column in step.columns:
                step.columns[column] = self._output_column(name, column, step.columns[column], kind, node)
            elif column not in OPTIONAL | {"field"} and (name, column) != ("anonymous", "customer"):
                raise refuse(into, f"the output {name} lacks the column {column}")
        unknown = [column for column in step.columns if column not in known]
        if unknown and name != "rejected":
            raise refuse(into, f"the output {name} has a column {unknown[0]} that dangol does not know")
        self._outputs[name] = step

    def _output_column(self, output: str, column: str, value: Value, kind: str, node: exp.Select) -> Value:
        if value.type in (kind, ANY, "null") or (value.type, kind) == ("bigint", "float"):
            if value.type == ANY and kind != "text":
                raise refuse(node.args["into"], f"the column {column} of {output} needs TRY_CAST to {kind}")
            return self._expressions({}).cast(value, kind, node)
        raise refuse(node.args["into"], f"the column {column} of {output} must be {kind}, not {value.type}")

    def _select(self, node: exp.Select) -> _Step:
        for part, value in node.args.items():
            if value and part not in _SELECT_PARTS:
                raise refuse(node, f"{part.rstrip('_').upper()} is not supported")
        origin = self._origin(node)
        scope = None if origin is None else origin.columns
        expressions = self._expressions(scope)
        step = _Step(keep=None if origin is None else origin.keep)
        for item in node.expressions:
            if isinstance(item, exp.Star) or (
                isinstance(item, exp.Column) and isinstance(item.this, exp.Star)
            ):
                step.columns |= self._star(scope, node)
                continue
            name = item.alias_or_name.lower()
            if not name or name in step.columns:
                raise refuse(item, "a column needs a name of its own (AS name)")
            step.columns[name] = expressions.compile(item.unalias())
        where = node.args.get("where")
        if where is not None:
            step.keep = self._both(step.keep, expressions.condition(where.this))
        return step

    def _star(self, scope: dict[str, Value] | None, node: exp.Select) -> dict[str, Value]:
        if scope is None:
            raise refuse(
                node.args["from_"], "SELECT * from the input does not say which fields are read; name them"
            )
        return dict(scope)

    def _both(self, first: Value | None, second: Value) -> Value:
        if first is None:
            return second
        inputs = tuple(dict.fromkeys(first.inputs + second.inputs))
        sql = f"({first.sql} AND {second.sql})"
        return Value(sql=sql, type="boolean", needs=first.needs | second.needs, inputs=inputs)

    def _origin(self, node: exp.Select) -> _Step | None:
        """Find the step that is read; None is the input."""
        source = node.args.get("from_")
        if source is None or not isinstance(source.this, exp.Table):
            raise refuse(node, "a SELECT reads from the input or from one step")
        name = source.this.name
        if name.lower() in self._steps:
            return self._steps[name.lower()]
        self._input_table = self._input_table or name
        if name.lower() != self._input_table.lower():
            raise refuse(source, f"{name} is neither a step above nor the input {self._input_table}")
        return None

    def _expressions(self, scope: dict[str, Value] | None) -> Expressions:
        def column(node: exp.Column) -> Value:
            if scope is None:
                self._inputs[node.name] = None
                return self._virtual((node.name, ()), ANY)
            if node.name.lower() not in scope:
                raise refuse(node, f"the step that is read has no column {node.name}")
            return scope[node.name.lower()]

        return Expressions(column, self._virtual)

    def _virtual(self, virtual: Virtual, kind: str) -> Value:
        name, _ = self._scan.setdefault(virtual, (f"v{len(self._scan)}", kind))
        return Value(sql=name, type=kind, needs=frozenset({name}), inputs=(virtual[0],), source=virtual)

    def _program(self) -> Program:
        accepted, anonymous = self._outputs["accepted"], self._outputs["anonymous"]
        direct: dict[str, Virtual] = {}
        computed: dict[str, Value] = {}
        for column, kind in COLUMNS.items():
            null = Value(sql=f"CAST(NULL AS {'VARCHAR' if kind == 'text' else kind})", type=kind)
            one = accepted.columns.get(column, null)
            other = anonymous.columns.get(column, one if column == "customer" else null)
            if one.source is not None and one.source == other.source:
                direct[column] = one.source
            elif one is not null or other is not null:
                sql = f"CASE _verdict WHEN {ANONYMOUS} THEN {other.sql} ELSE {one.sql} END"
                computed[column] = Value(sql=sql, type=kind, needs=one.needs | other.needs)
        names = {c: v.inputs[0] for c, v in accepted.columns.items() if v.inputs}
        statement, scan = self._statement(computed)
        return Program(
            input_fields=tuple(self._inputs),
            scan=scan,
            statement=statement,
            direct=direct,
            computed=tuple(computed),
            input_names=names,
        )

    def _statement(self, computed: dict[str, Value]) -> tuple[str, dict[str, tuple[Virtual, str]]]:
        """Put the pipeline together from its end, with nothing in it that nothing needs."""
        rejected = self._outputs["rejected"].columns
        none = Value(sql="CAST(NULL AS VARCHAR)", type="text")
        reason, fault = rejected["reason"], rejected.get("field", none)
        keeps = {name: self._outputs[name].keep or Value(sql="TRUE", type="boolean") for name in _VERDICTS}
        arms = " ".join(f"WHEN {keeps[name].sql} THEN {verdict}" for name, verdict in _VERDICTS.items())
        needs = frozenset().union(*(v.needs for v in (*keeps.values(), *computed.values(), reason, fault)))
        pipeline = "lines"
        placed: list[str] = []
        for level in reversed(self._levels):
            wanted = {name: value for name, value in level.items() if name in needs}
            needs = needs.union(*(value.needs for value in wanted.values()))
            placed.append(", ".join(f"{value.sql} AS {name}" for name, value in wanted.items()))
        for columns in reversed([text for text in placed if text]):
            pipeline = f"(SELECT *, {columns} FROM {pipeline})"
        judged = f"(SELECT *, CASE {arms} ELSE {UNMATCHED} END AS _verdict FROM {pipeline})"
        told = [
            f"CASE WHEN _verdict = {REJECTED} THEN {value.sql} END AS {name}"
            for name, value in (("_reason", reason), ("_field", fault))
        ]
        extra = [f"{value.sql} AS out_{name}" for name, value in computed.items()]
        where = "" if computed else f" WHERE _verdict <> {ACCEPTED}"
        statement = f"SELECT {', '.join(['_row', '_verdict', *told, *extra])} FROM {judged}{where}"
        used = {name: (virtual, kind) for virtual, (name, kind) in self._scan.items() if name in needs}
        return statement, used
