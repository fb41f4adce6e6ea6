# syntax=docker/dockerfile:1
# A worker on CPUs: all its ranks in one container, started by leadline-ranks.
#   docker build -f deploy/docker/worker-cpu.Dockerfile -t leadline/worker-cpu:0.1.0 .
# The packages of the final stage are what the programs' libraries need: deploy/docker/tests/images_test.py computes and compares.
FROM debian:12.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ cmake ninja-build pkgconf ca-certificates libboost1.81-dev libexpected-dev nlohmann-json3-dev prometheus-cpp-dev \
      libspdlog-dev libcli11-dev libopenmpi-dev libprotobuf-dev protobuf-compiler libssl-dev libxxhash-dev libnuma-dev libzstd-dev libhiredis-dev libpcre2-dev \
      libeigen3-dev libutf8proc-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release \
    && ninja -C /build leadline-worker \
    && cd /build/bin && strip leadline-worker

FROM debian:12.12-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="leadline/worker-cpu" \
      org.opencontainers.image.description="CPU worker of Leadline: one copy of the model over the container's ranks" \
      org.opencontainers.image.version="$VERSION"
RUN apt-get update && apt-get install -y --no-install-recommends \
      libopenmpi3 libprometheus-cpp-core1.0 libprotobuf32 libspdlog1.10 libssl3 libxxhash0 libhiredis0.14 libnuma1 libzstd1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin leadline
COPY --from=build /build/bin/leadline-worker /usr/local/bin/
COPY deploy/docker/leadline-health deploy/docker/leadline-ranks /usr/local/bin/
COPY models/reference/config.json models/reference/generation_config.json models/reference/model.safetensors models/reference/window_task.safetensors \
     models/reference/tokenizer.json models/reference/tokenizer_config.json /usr/share/leadline/models/reference/
USER 10001:10001
WORKDIR /
EXPOSE 7100 9000
STOPSIGNAL SIGTERM
# Orchestrators probe /startupz, /readyz and /livez of the admin port themselves; this is for plain Docker.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m CMD ["/usr/local/bin/leadline-health"]
ENTRYPOINT ["/usr/local/bin/leadline-ranks"]
