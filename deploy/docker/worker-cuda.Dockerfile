# syntax=docker/dockerfile:1
# A worker on NVIDIA GPUs: all its ranks in one container, one GPU each, started by leadline-ranks.
#   docker build -f deploy/docker/worker-cuda.Dockerfile --build-arg CUDA_REPOSITORY=URL -t leadline/worker-cuda:0.1.0 .
# CUDA_REPOSITORY is NVIDIA's apt repository of CUDA for Debian 12 (or a mirror of it), CUDA the version in its package names. The driver is the
# node's: the container runtime mounts it. Not built in CI: no machine of the project may fetch that repository.
# The packages of the final stage are what the programs' libraries need: deploy/docker/tests/images_test.py computes and compares.
FROM debian:12.12-slim AS cuda
ARG CUDA_REPOSITORY
ADD ${CUDA_REPOSITORY}/cuda-keyring_1.1-1_all.deb /tmp/keyring.deb
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && dpkg -i /tmp/keyring.deb && rm /tmp/keyring.deb

FROM cuda AS build
ARG CUDA=12-6
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ cmake ninja-build pkgconf ca-certificates libboost1.81-dev libexpected-dev nlohmann-json3-dev prometheus-cpp-dev \
      libspdlog-dev libcli11-dev libopenmpi-dev libprotobuf-dev protobuf-compiler libssl-dev libxxhash-dev libnuma-dev libzstd-dev libhiredis-dev libpcre2-dev \
      libeigen3-dev libutf8proc-dev cuda-nvcc-$CUDA cuda-cudart-dev-$CUDA libcublas-dev-$CUDA libnccl-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DLEADLINE_CUDA=ON \
      -DCMAKE_PREFIX_PATH=/usr/local/cuda -DCMAKE_CUDA_COMPILER=/usr/local/cuda/bin/nvcc \
    && ninja -C /build leadline-worker \
    && cd /build/bin && strip leadline-worker

FROM cuda
ARG CUDA=12-6
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="leadline/worker-cuda" \
      org.opencontainers.image.description="GPU worker of Leadline: one copy of the model over the container's GPUs" \
      org.opencontainers.image.version="$VERSION"
RUN apt-get update && apt-get install -y --no-install-recommends \
      libopenmpi3 libprometheus-cpp-core1.0 libprotobuf32 libspdlog1.10 libssl3 libxxhash0 libhiredis0.14 libnuma1 libzstd1 \
      cuda-cudart-$CUDA libcublas-$CUDA libnccl2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin leadline
COPY --from=build /build/bin/leadline-worker /usr/local/bin/
COPY deploy/docker/leadline-health deploy/docker/leadline-ranks /usr/local/bin/
COPY models/reference/config.json models/reference/generation_config.json models/reference/model.safetensors models/reference/window_task.safetensors \
     models/reference/tokenizer.json models/reference/tokenizer_config.json /usr/share/leadline/models/reference/
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /
EXPOSE 7100 9000
STOPSIGNAL SIGTERM
# Orchestrators probe /startupz, /readyz and /livez of the admin port themselves; this is for plain Docker.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m CMD ["/usr/local/bin/leadline-health"]
ENTRYPOINT ["/usr/local/bin/leadline-ranks"]
