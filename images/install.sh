#!/bin/sh
# Install the pinned requirements of one image into /opt/tuning: hashes checked, no tests, bytecode without timestamps.
set -eu
uv venv --quiet --python "$(command -v python3)" /opt/tuning
uv pip install --quiet --python /opt/tuning/bin/python --require-hashes --only-binary :all: -r "$1"
find /opt/tuning/lib -depth -type d -name tests -exec rm -r {} +
/opt/tuning/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/tuning/lib
