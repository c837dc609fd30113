"""Runs the cleanse file on DuckDB, inside the process.

The statement is prepared once, over a table whose content is swapped for each batch: a batch of five lines
costs some hundred microseconds, and large ones stream through without a copy.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.adapters.asaql import Program, compile_rules
from dangol.adapters.asaql_expressions import Virtual
from dangol.adapters.casts import ARROW_TYPES, cast_column
from dangol.core.cleanse import ACCEPTED, COLUMNS, FAULTY, REJECTED, Verdicts, build_cleansed
from dangol.core.schema import Cleansed, Int64, LineBlock
from dangol.errors import BadRule

__all__ = ["DuckDbRules"]

_Column = NDArray[np.generic]
_UDF_TYPES = {
    "bigint": "BIGINT",
    "float": "DOUBLE",
    "datetime": "BIGINT",
    "trim": "VARCHAR",
    "ltrim": "VARCHAR",
    "rtrim": "VARCHAR",
}


class _Lines:
    """The table `lines`: each time the statement runs it reads the batch that lies here then."""

    def __init__(self, schema: pa.Schema) -> None:
        self.batch = pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self.batch.schema, [self.batch])
        return reader.__arrow_c_stream__(requested_schema)


class DuckDbRules:
    """The `SqlEngine` on DuckDB; made from the text of a rule file, or from the one that dangol brings.

    >>> rules = DuckDbRules()
    >>> rules.input_fields[:3]
    ('EventId', 'InvoiceNo', 'StockCode')
    """

    def __init__(self, text: str | None = None, *, threads: int = 1) -> None:
        self._file: Path | None = None
        if text is None:
            text = (resources.files("dangol") / "rules" / "cleanse.asaql").read_text(encoding="utf-8")
        self._program: Program = compile_rules(text)
        scan = self._program.scan
        fields = [pa.field(name, ARROW_TYPES.get(kind, pa.string())) for name, (_, kind) in scan.items()]
        self._schema = pa.schema([pa.field("_row", pa.int64()), *fields])
        self._rows = np.arange(1024)
        self._lines = _Lines(self._schema)
        config = {"threads": threads, "memory_limit": "256MB", "preserve_insertion_order": True}
        self._connection = duckdb.connect(":memory:", config=config)
        self._finish = weakref.finalize(self, self._connection.close)
        self._prepare()

    @classmethod
    def from_file(cls, path: Path, *, threads: int = 1) -> DuckDbRules:
        """Read the rule file at `path`; every BadRule names it."""
        text = _text_of(path)
        try:
            rules = cls(text, threads=threads)
        except BadRule as error:
            raise _naming(path, error) from error
        rules._file = path
        return rules

    def close(self) -> None:
        """Release the engine; forgetting the object does the same."""
        self._finish()

    @property
    def input_fields(self) -> tuple[str, ...]:
        """The names of the input fields that the rule file reads, as it spells them."""
        return self._program.input_fields

    def input_name(self, column: str) -> str:
        """Return the input field behind an output column ("" if there is no single one)."""
        return self._program.input_names.get(column, "")

    def cleanse(self, block: LineBlock) -> Cleansed:
        """Judge each line of `block`."""
        fields = block.fields
        rows = self._numbers(len(block))
        made: dict[Virtual, pa.Array] = {}
        scanned = [self._column(fields, virtual, made) for virtual, _ in self._program.scan.values()]
        self._lines.batch = pa.RecordBatch.from_arrays([pa.array(rows), *scanned], schema=self._schema)
        try:
            verdicts = self._judge(block, made)
        finally:
            self._lines.batch = self._lines.batch.slice(0, 0)
        return build_cleansed(block, rows, verdicts)

    def _prepare(self) -> None:
        connection = self._connection
        for operation, sql_type in _UDF_TYPES.items():
            if f"dangol_{operation}(" in self._program.statement:
                name, run = f"dangol_{operation}", _udf(operation)
                connection.create_function(
                    name, run, ["VARCHAR"], sql_type, type="arrow", null_handling="special"
                )
        # Pushed down, the filter repeats each CASE that it looks at: a small batch takes twice as long.
        connection.execute("SET disabled_optimizers = 'filter_pushdown'")
        connection.register("lines", self._lines)
        try:
            connection.execute(f"PREPARE verdicts AS {self._program.statement}")
        except duckdb.Error as error:
            message = f"the cleanse file cannot be run by the embedded engine: {error}; write it more simply"
            raise BadRule(message) from error

    def _numbers(self, count: int) -> Int64:
        if count > len(self._rows):
            self._rows = np.arange(2 * count)
        return self._rows[:count]

    def _column(self, fields: pa.RecordBatch, virtual: Virtual, made: dict[Virtual, pa.Array]) -> pa.Array:
        """Compute an input column with its casts and trims, each only once a batch."""
        if virtual not in made:
            name, operations = virtual
            if operations:
                before = self._column(fields, (name, operations[:-1]), made)
                made[virtual] = cast_column(operations[-1], before)
            else:
                made[virtual] = fields.column(fields.schema.get_field_index(name))
        return made[virtual]

    def _judge(self, block: LineBlock, made: dict[Virtual, pa.Array]) -> Verdicts:
        fields, count = block.fields, len(block)
        program = self._program
        found = self._run()
        rows = found["_row"].astype(np.int64, copy=False)
        order = np.arange(len(rows)) if (rows[1:] > rows[:-1]).all() else np.argsort(rows)
        verdict = np.full(count, ACCEPTED, np.int8)
        verdict[rows] = found["_verdict"]
        verdict[block.fault != 0] = FAULTY
        columns = {name: self._column(fields, virtual, made) for name, virtual in program.direct.items()}
        for name in program.computed:
            columns[name] = _to_arrow(found[f"out_{name}"][order], ARROW_TYPES[COLUMNS[name]])
        for name, kind in COLUMNS.items():
            columns.setdefault(name, pa.nulls(count, ARROW_TYPES[kind]))
        told = order[verdict[rows[order]] == REJECTED]
        return Verdicts(
            verdict=verdict,
            columns=columns,
            reason=_texts(found["_reason"], told),
            field=_texts(found["_field"], told),
            input_names=program.input_names,
        )

    def _run(self) -> dict[str, _Column]:
        try:
            found: dict[str, _Column] = self._connection.execute("EXECUTE verdicts").fetchnumpy()
        except duckdb.Error as error:
            message = f"the cleanse file failed on a batch: {error}; write that expression more simply"
            refusal = BadRule(message)
            raise (_naming(self._file, refusal) if self._file else refusal) from error
        return found


def _text_of(path: Path) -> str:
    """Read the rule file at `path`; BadRule says what hinders it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        message = f"the cleanse file {path} does not exist: check the name"
        raise BadRule(message) from error
    except IsADirectoryError as error:
        message = f"the cleanse file {path} is a folder: name one file in it"
        raise BadRule(message) from error
    except OSError as error:
        message = f"the cleanse file {path} cannot be opened ({error.strerror}): check its permissions"
        raise BadRule(message) from error
    except UnicodeDecodeError as error:
        message = f"the cleanse file {path} is not UTF-8 text (byte {error.start}): save it as UTF-8"
        raise BadRule(message) from error


def _naming(path: Path, error: BadRule) -> BadRule:
    """Return `error` with the name of the file that it is about."""
    return BadRule(str(error).replace("the cleanse file", f"the cleanse file {path}", 1))


def _texts(column: _Column, places: Int64) -> list[str | None]:
    """Pick the texts at `places`; a masked place is a null."""
    picked: list[str | None] = column[places].tolist()
    return picked


def _to_arrow(column: _Column, kind: pa.DataType) -> pa.Array:
    mask = np.ma.getmaskarray(column)
    data = np.ma.getdata(column)
    if pa.types.is_string(kind):
        texts = [None if gone else text for text, gone in zip(data.tolist(), mask.tolist(), strict=True)]
        return pa.array(texts, kind)
    return pa.array(data.astype(kind.to_pandas_dtype()), mask=mask)


def _udf(operation: str) -> Callable[[pa.ChunkedArray], pa.Array]:
    def run(column: pa.ChunkedArray) -> pa.Array:
        pieces = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        return cast_column(operation, pieces)

    return run
