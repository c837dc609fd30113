#!/usr/bin/env bash
# Makes the virtual environment $1 with dangol and all its tools, from the project in the working folder.
set -euo pipefail

venv=${1:?name the folder of the environment}
fits='import sys; sys.exit(sys.version_info < (3, 11))'

# The first Python that is new enough, and can make environments.
find_python() {
  local name
  for name in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    if [ -n "$name" ] && command -v "$name" >/dev/null && "$name" -c "$fits" 2>/dev/null; then
      echo "$name"
      return
    fi
  done
}

if ! "$venv/bin/python" -c "$fits" 2>/dev/null; then
  python=$(find_python)
  if [ -z "$python" ]; then
    echo "setup: no Python of at least 3.11 is on the PATH: install one, or name it: make setup PYTHON=/path/to/python3" >&2
    exit 1
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "setup: $python cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2
    exit 1
  fi
  echo "Making $venv with $("$python" --version)."
  "$python" -m venv "$venv"
fi

echo "Installing dangol and its tools into $venv (some minutes the first time)."
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
# Dependency groups are known to pip from 25.1 on.
"${pip[@]}" install 'pip>=25.1'
"${pip[@]}" install --editable . --group dev
echo "Compiling the kernels for this machine (about 15 seconds)."
"$venv/bin/python" -c 'import dangol.engine, dangol.serve.server, dangol.testing.shop'
echo "Ready: $("$venv/bin/dangol" --version)."
