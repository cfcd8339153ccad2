# One image for every process of the platform; compose.yaml and deploy/kubernetes say which one a container is.
# The steps are scripts (deploy/image), which deploy/tests/test_image.py runs and proves without an engine.
# To renew the base: `docker buildx imagetools inspect python:3.11-slim-bookworm`, then its tag and digest here.
ARG PYTHON=python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY requirements.txt ./
COPY requirements/embedded.txt requirements/
COPY deploy/image/build deploy/image/
RUN deploy/image/build requirements /opt/lunaos
COPY . .
RUN deploy/image/build application /opt/lunaos

FROM ${PYTHON}
# A user of no name elsewhere, whose number Kubernetes can check; the base's installers go.
RUN groupadd --gid 10001 lunaos \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/lunaos --shell /usr/sbin/nologin lunaos \
    && install -d -o 10001 -g 10001 -m 700 /var/lib/lunaos \
    && python -m pip uninstall --quiet --yes --root-user-action ignore setuptools wheel pip \
    && rm -r /usr/local/lib/python3.11/ensurepip
COPY --from=build /opt/lunaos /opt/lunaos
ENV PATH=/opt/lunaos/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LUNAOS_HOME=/var/lib/lunaos \
    LUNAOS_SIGN_OF_LIFE=/tmp/lunaos-role
WORKDIR /opt/lunaos/app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-S", "/opt/lunaos/app/deploy/image/health.py"]
ENTRYPOINT ["/opt/lunaos/app/deploy/image/start"]
CMD ["web"]
