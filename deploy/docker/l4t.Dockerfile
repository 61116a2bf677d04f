# Jetson Orin with JetPack 6 (docs/jetson.md); build it on the Jetson:
# docker build -f deploy/docker/l4t.Dockerfile -t pyad-edge:l4t .
# docker run --runtime nvidia --read-only --tmpfs /tmp -v pyad-cache:/cache -v "$PWD/engines:/engines:ro" \
#     --device /dev/video0 pyad-edge:l4t run /engines/part.pyad --source camera:0 --backend tensorrt --device cuda
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0 AS build
# JetPack 6 has CUDA 12.6; the CUDA module, which the backend tensorrt needs, takes 12.8 of NVIDIA's own packages.
ADD https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/aarch64/cuda-keyring_1.1-1_all.deb /tmp/keyring.deb
# hadolint ignore=DL3008
RUN dpkg -i /tmp/keyring.deb && apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-venv cuda-nvcc-12-8 cuda-cudart-dev-12-8 \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
# TensorRT is the image's own (python3-libnvinfer), so the environment sees the system's packages.
RUN python3 -m venv --system-site-packages /opt/pyad-edge \
    && CUDACXX=/usr/local/cuda-12.8/bin/nvcc /opt/pyad-edge/bin/pip install --no-cache-dir \
    --config-settings=cmake.define.PYAD_CUDA=ON \
    --config-settings=cmake.define.PYAD_CUDA_ARCHITECTURES=87-real /src

FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
RUN groupadd --gid 10001 pyad && useradd --uid 10001 --gid 10001 --groups video --create-home pyad \
    && install -d -m 0700 -o pyad -g pyad /cache
COPY --from=build /opt/pyad-edge /opt/pyad-edge
ENV PATH=/opt/pyad-edge/bin:$PATH PYTHONUNBUFFERED=1 PYAD_EDGE_CACHE=/cache
VOLUME ["/engines", "/cache"]
USER 10001:10001
WORKDIR /home/pyad
HEALTHCHECK --interval=5m --timeout=60s --start-period=15m CMD ["pyad-edge", "doctor"]
STOPSIGNAL SIGINT
ENTRYPOINT ["pyad-edge"]
CMD ["doctor"]
