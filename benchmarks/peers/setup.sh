#!/bin/sh
# Makes .bench-peers with the engines that `dangol bench load-ndjson` runs beside dangol. Bytewax is Apache-2.0;
# Pathway is under the Business Source License: it is installed for measuring here, and dangol never depends on it.
# `SPARK=1 benchmarks/peers/setup.sh` adds PySpark (Apache-2.0, several hundred MB; needs Java 17).
set -eu
cd "$(dirname "$0")/../.."
PYTHON="${PYTHON:-python3}"
[ -x .bench-peers/bin/python ] || "$PYTHON" -m venv .bench-peers
install() { .bench-peers/bin/pip install --quiet "$@" || echo "$* could not be installed; the bench skips it" >&2; }
install numpy msgspec 'bytewax==0.21.*'
install 'pathway==0.33.*'
[ -z "${SPARK:-}" ] || install 'pyspark==4.*'
