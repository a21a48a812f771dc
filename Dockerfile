# Two images, `--target operator` and `--target trainer`; see docs/images.md.
# The base needs Python 3.11 or later with venv and pip as `python3`, and nothing more.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS tools
# Where packages come through a proxy with a certificate of its own: a file of the base, or the secret of each RUN.
ARG SSL_CERT_FILE
# Of uv; a builder may mount one that is warm already and name it.
ARG UV_CACHE_DIR=/var/cache/uv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_CACHE_DIR=${UV_CACHE_DIR} UV_LINK_MODE=copy UV_NO_PROGRESS=1 \
    PYTHONHASHSEED=0 PYC_INVALIDATION_MODE=unchecked-hash
COPY requirements/uv.txt /build/requirements/
RUN --mount=type=secret,id=certificates python3 -m venv /build/tools \
    && /build/tools/bin/pip install --quiet --no-cache-dir --require-hashes -r /build/requirements/uv.txt
ENV PATH=/build/tools/bin:$PATH
WORKDIR /build

# What each image depends on: a layer of its own, which a change of our source leaves as it is.
FROM tools AS operator-dependencies
ARG SSL_CERT_FILE
COPY requirements/operator.txt requirements/
COPY images/install.sh images/
RUN --mount=type=secret,id=certificates --mount=type=cache,target=/var/cache/uv \
    sh images/install.sh requirements/operator.txt

FROM tools AS trainer-dependencies
ARG SSL_CERT_FILE
COPY requirements/trainer.txt requirements/
COPY images/install.sh images/
RUN --mount=type=secret,id=certificates --mount=type=cache,target=/var/cache/uv \
    sh images/install.sh requirements/trainer.txt

# Our own packages.
FROM operator-dependencies AS operator-package
ARG SSL_CERT_FILE
COPY requirements/dev.txt requirements/
COPY images/package.sh images/
COPY pyproject.toml README.md ./
COPY trainer/trial_protocol trainer/trial_protocol
COPY operator operator
RUN --mount=type=secret,id=certificates --mount=type=cache,target=/var/cache/uv \
    sh images/package.sh

FROM trainer-dependencies AS trainer-package
ARG SSL_CERT_FILE
COPY requirements/dev.txt requirements/
COPY images/package.sh images/
COPY pyproject.toml README.md ./
COPY trainer trainer
RUN --mount=type=secret,id=certificates --mount=type=cache,target=/var/cache/uv \
    sh images/package.sh && rm -r /build/staged/bin

FROM ${BASE} AS final
RUN echo 'tuning:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'tuning:x:65532:' >> /etc/group
ENV PATH=/opt/tuning/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 65532:65532

FROM final AS operator
COPY --from=operator-dependencies /opt/tuning /opt/tuning
COPY --from=operator-package /build/staged /opt/tuning
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="tuning-operator" \
      org.opencontainers.image.description="The tuning operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["tuning-operator"]

FROM final AS trainer
COPY --from=trainer-dependencies /opt/tuning /opt/tuning
COPY --from=trainer-package /build/staged /opt/tuning
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="tuning-trainer" \
      org.opencontainers.image.description="PyTorch trainer of the tuning operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["python", "-m", "tuning_trainer"]
