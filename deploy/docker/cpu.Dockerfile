# docker build -f deploy/docker/cpu.Dockerfile -t pyad-edge:cpu .
# docker run --read-only --tmpfs /tmp --device /dev/video0 -v "$PWD/engines:/engines:ro" pyad-edge:cpu \
#     run /engines/part.pyad --source camera:0
FROM python:3.12.12-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python -m venv /opt/pyad-edge \
    && /opt/pyad-edge/bin/pip install --no-cache-dir --config-settings=cmake.define.PYAD_CUDA=OFF /src

FROM python:3.12.12-slim-bookworm
RUN groupadd --gid 10001 pyad && useradd --uid 10001 --gid 10001 --groups video --create-home pyad
COPY --from=build /opt/pyad-edge /opt/pyad-edge
ENV PATH=/opt/pyad-edge/bin:$PATH PYTHONUNBUFFERED=1
VOLUME ["/engines"]
USER 10001:10001
WORKDIR /home/pyad
# Kernels against their reference, and what the backends say; a hanging stream is the supervisor's matter.
HEALTHCHECK --interval=5m --timeout=60s --start-period=2m CMD ["pyad-edge", "doctor"]
STOPSIGNAL SIGINT
ENTRYPOINT ["pyad-edge"]
CMD ["doctor"]
