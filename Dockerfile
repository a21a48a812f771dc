# Two images, `--target operator` and `--target trainer`; see docs/images.md.
# The base needs Python 3.11 or later as `python3`, with venv and pip, and nothing more.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS tools
# Where packages come through a proxy with a certificate of its own: a file of the base, or the secret of each RUN.
ARG SSL_CERT_FILE
ENV PATH=/build/tools/bin:$PATH UV_NO_PROGRESS=1 UV_LINK_MODE=copy PYTHONHASHSEED=0
COPY requirements/uv.txt /build/
RUN --mount=type=secret,id=certificates,target=/var/cache/certificates.pem python3 -m venv /build/tools \
    && PIP_CERT="$SSL_CERT_FILE" pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r /build/uv.txt \
    && uv venv --quiet --python "$(command -v python3)" /opt/tuning
WORKDIR /build

# Our own packages as they will stand in /opt/tuning; bytecode is found by hash, so it does not depend on a date.
FROM tools AS wheel
ARG SSL_CERT_FILE
COPY requirements/dev.txt pyproject.toml README.md ./
COPY trainer/trial_protocol trainer/trial_protocol

FROM wheel AS operator-package
ARG SSL_CERT_FILE
COPY operator operator
RUN --mount=type=secret,id=certificates,target=/var/cache/certificates.pem \
    uv build --quiet --no-cache --wheel --out-dir dist --python /opt/tuning/bin/python --require-hashes --build-constraints dev.txt \
    && pip --python /opt/tuning/bin/python install --quiet --prefix staged --no-deps --no-index --no-compile dist/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash staged/lib

FROM wheel AS trainer-package
ARG SSL_CERT_FILE
COPY trainer/tuning_trainer trainer/tuning_trainer
RUN --mount=type=secret,id=certificates,target=/var/cache/certificates.pem \
    uv build --quiet --no-cache --wheel --out-dir dist --python /opt/tuning/bin/python --require-hashes --build-constraints dev.txt \
    && pip --python /opt/tuning/bin/python install --quiet --prefix staged --no-deps --no-index --no-compile dist/*.whl \
    && rm -r staged/bin \
    && python3 -m compileall -q --invalidation-mode unchecked-hash staged/lib

FROM ${BASE} AS common
RUN echo 'tuning:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'tuning:x:65532:' >> /etc/group
ENV PATH=/opt/tuning/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp

# What an image depends on is a layer of its own, which a change of our source leaves as it is. Tests are left out; a
# package may hold files for a newer Python, which cannot be compiled and are never imported.
FROM common AS operator
ARG SSL_CERT_FILE
ARG UV_CACHE_DIR=/var/cache/uv
COPY requirements/operator.txt /opt/requirements.txt
RUN --mount=type=bind,from=tools,source=/build,target=/build --mount=type=cache,target=/var/cache/uv \
    --mount=type=secret,id=certificates,target=/var/cache/certificates.pem \
    export UV_LINK_MODE=copy PYTHONHASHSEED=0 && /build/tools/bin/uv venv --quiet --python "$(command -v python3)" /opt/tuning \
    && /build/tools/bin/uv pip install --quiet --no-progress --python /opt/tuning/bin/python --require-hashes \
        --only-binary :all: -r /opt/requirements.txt \
    && find /opt/tuning/lib -depth -type d -name tests -exec rm -r {} + \
    && { python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/tuning/lib || true; }
COPY --from=operator-package /build/staged /opt/tuning
USER 65532:65532
ENTRYPOINT ["tuning-operator"]
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="tuning-operator" \
      org.opencontainers.image.description="The tuning operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM common AS trainer
ARG SSL_CERT_FILE
ARG UV_CACHE_DIR=/var/cache/uv
COPY requirements/trainer.txt /opt/requirements.txt
RUN --mount=type=bind,from=tools,source=/build,target=/build --mount=type=cache,target=/var/cache/uv \
    --mount=type=secret,id=certificates,target=/var/cache/certificates.pem \
    export UV_LINK_MODE=copy PYTHONHASHSEED=0 && /build/tools/bin/uv venv --quiet --python "$(command -v python3)" /opt/tuning \
    && /build/tools/bin/uv pip install --quiet --no-progress --python /opt/tuning/bin/python --require-hashes \
        --only-binary :all: -r /opt/requirements.txt \
    && find /opt/tuning/lib -depth -type d -name tests -exec rm -r {} + \
    && { python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/tuning/lib || true; }
COPY --from=trainer-package /build/staged /opt/tuning
USER 65532:65532
ENTRYPOINT ["python", "-m", "tuning_trainer"]
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="tuning-trainer" \
      org.opencontainers.image.description="PyTorch trainer of the tuning operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# What is in an image, as a CycloneDX bill of materials: `--target operator-sbom --output type=local,dest=FOLDER`.
FROM tools AS bill
ARG SSL_CERT_FILE
COPY requirements/sbom.txt images/bill.py ./
RUN --mount=type=secret,id=certificates,target=/var/cache/certificates.pem \
    uv venv --quiet --python "$(command -v python3)" bill \
    && uv pip install --quiet --no-cache --python bill/bin/python --require-hashes --only-binary :all: -r sbom.txt

FROM bill AS operator-bill
ARG VERSION=unknown
COPY requirements/operator.txt ./
RUN --mount=type=bind,from=operator,source=/opt/tuning,target=/opt/tuning \
    bill/bin/python bill.py tuning-operator "${VERSION}" /opt/tuning/bin/python tuning-operator.cdx.json

FROM bill AS trainer-bill
ARG VERSION=unknown
COPY requirements/trainer.txt ./
RUN --mount=type=bind,from=trainer,source=/opt/tuning,target=/opt/tuning \
    bill/bin/python bill.py tuning-trainer "${VERSION}" /opt/tuning/bin/python tuning-trainer.cdx.json

FROM scratch AS operator-sbom
COPY --from=operator-bill /build/tuning-operator.cdx.json /

FROM scratch AS trainer-sbom
COPY --from=trainer-bill /build/tuning-trainer.cdx.json /
