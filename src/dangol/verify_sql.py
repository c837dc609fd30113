"""The SQL with which `verify` works out every customer from the raw lines, by the definitions alone."""

from __future__ import annotations

__all__ = ["COMPUTED", "FIELDS", "LINES", "MATCHED"]

FIELDS = (
    "lines",
    "monetary",
    "frequency",
    "last_purchase_at",
    "first_line_at",
    "last_line_at",
    "last_cancel_at",
    "cancels_matched",
    "cancels_partly",
    "cancels_unmatched",
    "country",
)
"""The columns of `computed` that a state must agree with."""

LINES = (
    "CREATE TABLE log_totals (rows BIGINT, anonymous BIGINT)",
    """
    CREATE TABLE lines AS
    SELECT slot, customer, event_id, invoice, product, country, quantity, unit_price, epoch_us("at") AS moment
    FROM log
    """,
    "INSERT INTO log_totals SELECT count(*), count(*) FILTER (slot = -1) FROM lines",
    "DELETE FROM lines WHERE slot < 0",
)
"""Anonymous lines have slot -1; those of erased customers -2, and count as accepted."""

# The units that a pair of customer and product has at hand, after each line in order, are a height: the
# running sum, lifted by what cancellations took from nothing. Taking the latest units first, a purchase
# keeps what the height never falls below again; a cancellation finds what the height before it has.
MATCHED = """
CREATE TABLE matched AS
WITH bearing AS (
    SELECT DISTINCT slot, product FROM lines WHERE quantity < 0
), summed AS (
    SELECT slot, product, invoice, moment, event_id, quantity, sum(quantity) OVER earlier AS total
    FROM lines SEMI JOIN bearing USING (slot, product)
    WINDOW earlier AS (PARTITION BY slot, product ORDER BY moment, event_id ROWS UNBOUNDED PRECEDING)
), lifted AS (
    SELECT *, total - least(0, min(total) OVER earlier) AS height
    FROM summed
    WINDOW earlier AS (PARTITION BY slot, product ORDER BY moment, event_id ROWS UNBOUNDED PRECEDING)
), framed AS (
    SELECT *,
        coalesce(lag(height) OVER (PARTITION BY slot, product ORDER BY moment, event_id), 0) AS before,
        min(height) OVER (
            PARTITION BY slot, product ORDER BY moment, event_id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS lowest
    FROM lifted
)
SELECT slot, invoice, quantity,
    CASE WHEN quantity > 0 THEN quantity - greatest(0, lowest - before) ELSE least(-quantity, before) END AS matched
FROM framed
"""

COMPUTED = """
CREATE TABLE computed AS
WITH sums AS (
    SELECT slot, count(*) AS lines, sum(quantity::HUGEINT * unit_price) AS monetary,
        min(moment) AS first_line_at, max(moment) AS last_line_at, max(moment) FILTER (quantity < 0) AS last_cancel_at,
        min(customer) AS customer, max(customer) AS other
    FROM lines GROUP BY slot
), places AS (
    SELECT l.slot, max(l.country) AS country
    FROM lines l JOIN sums s ON l.slot = s.slot AND l.moment = s.last_line_at GROUP BY l.slot
), cancelled AS (
    SELECT slot, invoice, sum(matched) AS units FROM matched WHERE quantity > 0 GROUP BY slot, invoice
), bought AS (
    SELECT slot, invoice, sum(quantity) AS units, max(moment) AS moment
    FROM lines WHERE quantity > 0 GROUP BY slot, invoice
), live AS (
    SELECT b.slot, count(*) AS frequency, max(b.moment) AS last_purchase_at
    FROM bought b LEFT JOIN cancelled c ON b.slot = c.slot AND b.invoice = c.invoice
    WHERE b.units > coalesce(c.units, 0) GROUP BY b.slot
), kinds AS (
    SELECT slot, count(*) FILTER (matched = -quantity) AS cancels_matched,
        count(*) FILTER (matched > 0 AND matched < -quantity) AS cancels_partly,
        count(*) FILTER (matched = 0) AS cancels_unmatched
    FROM matched WHERE quantity < 0 GROUP BY slot
)
SELECT s.slot, s.customer, s.other, s.lines, s.monetary, coalesce(v.frequency, 0) AS frequency,
    v.last_purchase_at, s.first_line_at, s.last_line_at, s.last_cancel_at,
    coalesce(k.cancels_matched, 0) AS cancels_matched, coalesce(k.cancels_partly, 0) AS cancels_partly,
    coalesce(k.cancels_unmatched, 0) AS cancels_unmatched, p.country
FROM sums s LEFT JOIN places p ON s.slot = p.slot LEFT JOIN live v ON s.slot = v.slot
    LEFT JOIN kinds k ON s.slot = k.slot
"""
