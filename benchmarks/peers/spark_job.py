"""Spark: a structured stream over the file, native aggregation by customer, scoring of each micro-batch.

The file is cut beforehand, so that a micro-batch has some 100,000 lines and takes about a second; each ends with
a checkpoint. The state store is RocksDB, and shuffles have as many partitions as there are cores: the defaults
are for clusters.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from job import Meter, Mixture, pieces
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

FILE, CARD, FOLDER = sys.argv[1:4]
NOW = np.datetime64("2030-01-01", "s")
MIXTURE = Mixture(CARD)
STATES: dict[str, tuple[int, int, int]] = {}
SCHEMA = "InvoiceNo STRING, Quantity BIGINT, UnitPrice DOUBLE, InvoiceDate TIMESTAMP_NTZ, CustomerID STRING"
STORE = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"


def keep(batch, number):
    """Score what a micro-batch changed, and keep the latest state of each customer."""
    rows = [tuple(row) for row in batch.collect()]
    live = [row for row in rows if row[1]]
    segments = []
    if live:
        last = np.array([row[3] for row in live], "datetime64[s]")
        days = (NOW - last) / np.timedelta64(1, "D")
        frequency, money = np.array([row[1] for row in live]), np.array([row[2] for row in live])
        segments = MIXTURE.segments(days, frequency, money / 1e6).tolist()
    STATES.update({row[0]: (0, row[2], -1) for row in rows if not row[1]})
    STATES.update({row[0]: (row[1], row[2], found) for row, found in zip(live, segments, strict=True)})


def cpu_seconds(pid):
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


spark = (
    SparkSession.builder.master("local[*]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "2g")
    .config("spark.sql.shuffle.partitions", str(os.cpu_count()))
    .config("spark.sql.streaming.stateStore.providerClass", STORE)
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
jvm = spark._jvm.java.lang.ProcessHandle.current().pid()
source = Path(FOLDER) / "source"
source.mkdir()
every = 24  # pieces of 1 MB
for number, piece in enumerate(pieces(FILE)):
    with (source / f"{number // every:06d}.json").open("ab") as target:
        target.write(piece)

meter, before = Meter(), cpu_seconds(jvm)
lines = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 1).json(str(source))
good = (f.col("CustomerID") != "") & (f.col("UnitPrice") > 0) & (f.col("Quantity") != 0)
lines = lines.where(good & f.col("InvoiceDate").isNotNull())
lines = lines.where(f.col("InvoiceNo").startswith("C") == (f.col("Quantity") < 0))
bought = f.col("Quantity") > 0
states = lines.groupBy("CustomerID").agg(
    f.size(f.collect_set(f.when(bought, f.col("InvoiceNo")))).alias("frequency"),
    f.sum(f.col("Quantity") * f.round(f.col("UnitPrice") * 1e6).cast("bigint")).alias("money"),
    f.max(f.when(bought, f.col("InvoiceDate"))).alias("last"),
)
query = (
    states.writeStream.outputMode("update")
    .foreachBatch(keep)
    .option("checkpointLocation", str(Path(FOLDER) / "checkpoint"))
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
used = cpu_seconds(jvm) - before
meter.print(
    FILE,
    customers=len(STATES),
    frequency=sum(state[0] for state in STATES.values()),
    monetary=sum(state[1] for state in STATES.values() if state[0]),
    more_cpu=used,
)
spark.stop()
