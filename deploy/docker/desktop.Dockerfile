# A desktop GPU (driver for CUDA 13 on the host, NVIDIA Container Toolkit):
# docker build -f deploy/docker/desktop.Dockerfile -t pyad-edge:desktop .
# docker run --gpus all --read-only --tmpfs /tmp -v pyad-cache:/cache -v "$PWD/engines:/engines:ro" pyad-edge:desktop \
#     run /engines/part.pyad --source rtsp://line/1 --backend tensorrt --device cuda
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python3 -m venv /opt/pyad-edge \
    && /opt/pyad-edge/bin/pip install --no-cache-dir \
    --config-settings=cmake.define.PYAD_CUDA=ON \
    --config-settings=cmake.define.PYAD_CUDA_ARCHITECTURES=all "/src[tensorrt]"

FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 pyad && useradd --uid 10001 --gid 10001 --groups video --create-home pyad \
    && install -d -m 0700 -o pyad -g pyad /cache
COPY --from=build /opt/pyad-edge /opt/pyad-edge
# Plans are built on the device that runs them, and kept in a volume of this user's own.
ENV PATH=/opt/pyad-edge/bin:$PATH PYTHONUNBUFFERED=1 PYAD_EDGE_CACHE=/cache
VOLUME ["/engines", "/cache"]
USER 10001:10001
WORKDIR /home/pyad
HEALTHCHECK --interval=5m --timeout=60s --start-period=15m CMD ["pyad-edge", "doctor"]
STOPSIGNAL SIGINT
ENTRYPOINT ["pyad-edge"]
CMD ["doctor"]
