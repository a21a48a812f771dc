#!/bin/sh
# Build our wheel from what was copied in and lay it out in /build/staged, as it will stand in /opt/tuning.
set -eu
uv build --quiet --wheel --out-dir dist --python /opt/tuning/bin/python --require-hashes --build-constraints requirements/dev.txt
uv pip install --quiet --python /opt/tuning/bin/python --prefix staged --no-deps dist/*.whl
find staged -name uv_cache.json -o -name direct_url.json | xargs rm -f
python3 -m compileall -q --invalidation-mode unchecked-hash staged/lib
