#!/bin/sh
# Prints the first Python on the PATH that is new enough (3.11 or later) and can make virtual environments.
set -eu
for candidate in python3 python3.11 python3.12 python3.13 python3.14 python; do
  command -v "$candidate" >/dev/null 2>&1 || continue
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    command -v "$candidate"
    exit 0
  fi
done
echo "Python 3.11 or later with the venv module is needed (on Debian or Ubuntu: sudo apt-get install python3-venv)." >&2
exit 1
