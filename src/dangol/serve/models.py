"""The shapes of every answer, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Cancellations",
    "Change",
    "Changes",
    "Customer",
    "CustomerRow",
    "Customers",
    "EventsReceipt",
    "Health",
    "LineProblem",
    "Problem",
    "Ready",
    "Reject",
    "RejectList",
    "Segment",
    "SegmentName",
    "Segments",
    "SimulatorChange",
    "SimulatorStart",
    "SimulatorState",
    "StatusModel",
    "StatusNow",
    "StatusSegment",
]

SegmentName = Literal["vip", "dormant", "mid", "low", "none"]


class Shape(BaseModel):
    """A JSON object whose fields may grow but never change their meaning."""

    model_config = ConfigDict(extra="allow")


class Problem(Shape):
    """What every error looks like (RFC 9457)."""

    type: str = Field(examples=["urn:dangol:problem:not-found"])
    title: str
    status: int
    detail: str = Field(description="What happened, to what.")
    next: str = Field(description="What to do next.")


class LineProblem(Shape):
    """One line that was not accepted."""

    line: int = Field(description="Place in this request, from 1.")
    field: str = Field(description='The field at fault; "" when the line as a whole is.')
    reason: str


class EventsReceipt(Shape):
    """What became of the lines: events = accepted + anonymous + rejected + duplicates."""

    events: int
    accepted: int
    anonymous: int
    rejected: int
    duplicates: int
    batch: int = Field(description="Sequence number of the commit that holds them.")
    rejects: list[LineProblem] = Field(description="The first 1000 rejected lines.")
    rejects_left_out: int


class Cancellations(Shape):
    """Cancellation lines by how much of their quantity found an earlier purchase."""

    matched: int
    partly: int
    unmatched: int


class CustomerRow(Shape):
    """One customer in a list, with the columns of `dangol export customers`."""

    customer: str
    recency_days: float | None
    frequency: int
    monetary: float
    last_purchase_at: str | None
    segment: str
    p_vip: float | None
    p_dormant: float | None
    p_mid: float | None
    p_low: float | None
    next_change_at: str | None
    next_segment: str | None
    country: str | None


class Customer(CustomerRow):
    """All that is known of one customer."""

    segment_since: str | None
    first_line_at: str | None
    last_line_at: str | None
    lines: int
    cancellations: Cancellations
    as_of: str | None


class Customers(Shape):
    """One page of customers."""

    customers: list[CustomerRow]
    next: str | None = Field(description="Pass it as `after` for the next page; null on the last one.")
    as_of: str | None


class Segment(Shape):
    """One segment as a whole."""

    segment: str
    name_ko: str
    name_en: str
    customers: int
    share: float = Field(description="Part of all customers, 0 to 1.")
    monetary: float
    monetary_share: float
    recency_days_median: float | None
    frequency_median: float | None
    monetary_median: float | None


class Segments(Shape):
    """Every segment, and the moment they are judged at."""

    segments: list[Segment]
    as_of: str | None


class Change(Shape):
    """One customer's move from one segment to another, and why."""

    seq: int = Field(description="Rises by commit; the cursor.")
    customer: str | None
    before: str
    after: str
    at: str = Field(description="When it happened, on the engine's clock.")
    recorded_at: str = Field(description="When it was committed.")
    cause: str = Field(examples=["events", "time", "model", "erase"])
    events: list[str] = Field(description="Ids of the events that caused it.")
    backfill: bool


class Changes(Shape):
    """Changes in the order of their commits."""

    changes: list[Change]
    next: int = Field(description="Pass it as `after` to go on from here, now or later.")


class Reject(Shape):
    """One stored line that was not accepted."""

    seq: int
    received_at: str | None
    reason: str
    field: str
    raw: str
    status: str


class RejectList(Shape):
    """Rejected lines in the order in which they came."""

    rejects: list[Reject]
    next: int = Field(description="Pass it as `after` to go on from here.")


class Health(Shape):
    """The process is alive."""

    status: Literal["alive"]
    version: str


class Ready(Shape):
    """The engine takes events."""

    status: Literal["ready"]


class StatusSegment(Shape):
    """Size and money of one segment right now."""

    customers: int
    share: float
    monetary: float


class StatusModel(Shape):
    """The model that gives the segments."""

    version: int
    name: str
    starting: bool = Field(description="True while the built-in starting model serves.")


class StatusNow(Shape):
    """The engine at this moment, all from one consistent look."""

    events: int
    accepted: int
    anonymous: int
    rejected: dict[str, int] = Field(description="By reason.")
    rejected_total: int
    duplicates: int
    customers: int
    live_customers: int
    clock: str | None = Field(description="The moment the data is judged at: data as of.")
    lines_per_second: float
    delay_p99_ms: float | None
    commit_p50_ms: float | None
    commit_p99_ms: float | None
    queue_bytes: int
    batches: int
    changes: int = Field(description="Sequence number of the latest change.")
    segments: dict[str, StatusSegment]
    cancellations: Cancellations
    model: StatusModel
    started_at: str | None
    last_commit_at: str | None
    disk_bytes: int
    version: str


class SimulatorStart(BaseModel):
    """How to start the simulator: at a rate, at a multiple of the file's own time, or as fast as it goes."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field("generated", description='A name out of `files`, or "generated".')
    rate: float | None = Field(None, gt=0, le=10_000_000, description="Lines a second.")
    speed: float | None = Field(None, gt=0, le=1e9, description="Multiple of the file's own time.")
    loop: bool = Field(False, description="Begin again at the end; the same events then count as duplicates.")


class SimulatorChange(BaseModel):
    """What to change while it runs; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    rate: float | None = Field(None, gt=0, le=10_000_000)
    speed: float | None = Field(None, gt=0, le=1e9)
    paused: bool | None = None


class SimulatorState(Shape):
    """What the simulator is doing."""

    state: Literal["idle", "running", "paused", "finished", "stopped", "failed"]
    file: str | None
    files: list[str] = Field(description="What may be started.")
    rate: float | None
    speed: float | None
    loop: bool
    sent: int
    acknowledged: int
    failed: int
    lines_per_second: float
    error: str | None
