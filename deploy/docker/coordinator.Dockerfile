# syntax=docker/dockerfile:1
# The coordinator: OpenAI-compatible API, tokeniser, routing; also the CLI, which asks the question of helm test.
#   docker build -f deploy/docker/coordinator.Dockerfile -t leadline/coordinator:0.1.0 .
# The packages of the final stage are what the programs' libraries need: deploy/docker/tests/images_test.py computes and compares.
FROM debian:12.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ cmake ninja-build pkgconf ca-certificates libboost1.81-dev libexpected-dev nlohmann-json3-dev prometheus-cpp-dev \
      libspdlog-dev libcli11-dev libopenmpi-dev libprotobuf-dev protobuf-compiler libssl-dev libxxhash-dev libnuma-dev libzstd-dev libhiredis-dev libpcre2-dev \
      libeigen3-dev libutf8proc-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release \
    && ninja -C /build leadline leadline-coordinator \
    && cd /build/bin && strip leadline leadline-coordinator

FROM debian:12.12-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="leadline/coordinator" \
      org.opencontainers.image.description="Coordinator of Leadline: an OpenAI-compatible API in front of its workers" \
      org.opencontainers.image.version="$VERSION"
RUN apt-get update && apt-get install -y --no-install-recommends \
      libpcre2-8-0 libprometheus-cpp-core1.0 libprotobuf32 libspdlog1.10 libssl3 libutf8proc2 libxxhash0 libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin leadline
COPY --from=build /build/bin/leadline /build/bin/leadline-coordinator /usr/local/bin/
COPY deploy/docker/leadline-health /usr/local/bin/
COPY models/reference/config.json models/reference/generation_config.json models/reference/model.safetensors \
     models/reference/tokenizer.json models/reference/tokenizer_config.json /usr/share/leadline/models/reference/
USER 10001:10001
WORKDIR /
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
# Orchestrators probe /startupz, /readyz and /livez of the admin port themselves; this is for plain Docker.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m CMD ["/usr/local/bin/leadline-health"]
ENTRYPOINT ["/usr/local/bin/leadline-coordinator"]
