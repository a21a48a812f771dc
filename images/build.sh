#!/usr/bin/env bash
# Build both images with docker, podman or buildah, whichever is there: `make images`, or images/build.sh [TARGET...];
# with targets operator-sbom and trainer-sbom, write what is in them to dist/: `make sbom`.
# TAG, PREFIX, BASE, PLATFORM, SSL_CERT_FILE and BUILDER may be set; see docs/images.md.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker buildx version >/dev/null 2>&1; then
    builder=docker
else
    builder=$(command -v podman || command -v buildah || true)
fi
builder="${BUILDER:-$builder}"
[[ -n $builder ]] || { echo "Images need docker with buildx, podman or buildah; none is on the PATH" >&2; exit 1; }
# The date of every file, the same for all commits: a layer whose content has not changed keeps its digest.
epoch="${SOURCE_DATE_EPOCH:-315532800}"
arguments=(
    --file Dockerfile
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
)
[[ -z ${BASE:-} ]] || arguments+=(--build-arg "BASE=$BASE")
[[ -z ${PLATFORM:-} ]] || arguments+=(--platform "$PLATFORM")
[[ -z ${SSL_CERT_FILE:-} ]] || arguments+=(
    --secret "id=certificates,src=$SSL_CERT_FILE" --build-arg SSL_CERT_FILE=/var/cache/certificates.pem
)

if [[ $(basename "$builder") == docker ]]; then
    build=("$builder" buildx build --build-arg "SOURCE_DATE_EPOCH=$epoch" "${arguments[@]}")
else
    build=("$builder" build --layers --network host --timestamp "$epoch" "${arguments[@]}")
fi

(($#)) || set -- operator trainer
for target in "$@"; do
    if [[ $target == *-sbom ]]; then
        "${build[@]}" --target "$target" --output type=local,dest=dist .
        echo "wrote dist/tuning-${target%-sbom}.cdx.json"
    else
        name="${PREFIX:-}tuning-$target:${TAG:-dev}"
        "${build[@]}" --target "$target" --tag "$name" .
        echo "built $name"
    fi
done
