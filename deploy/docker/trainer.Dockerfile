# syntax=docker/dockerfile:1
# The trainer: learns the exit policy from what workers logged, once per run, and tells them. A job, not a server.
#   docker build -f deploy/docker/trainer.Dockerfile -t leadline/trainer:0.1.0 .
# The packages of the final stage are what the programs' libraries need: deploy/docker/tests/images_test.py computes and compares.
FROM debian:12.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ cmake ninja-build pkgconf ca-certificates libboost1.81-dev libexpected-dev nlohmann-json3-dev prometheus-cpp-dev \
      libspdlog-dev libcli11-dev libopenmpi-dev libprotobuf-dev protobuf-compiler libssl-dev libxxhash-dev libnuma-dev libzstd-dev libhiredis-dev libpcre2-dev \
      libeigen3-dev libutf8proc-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release \
    && ninja -C /build leadline \
    && cd /build/bin && strip leadline

FROM debian:12.12-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="leadline/trainer" \
      org.opencontainers.image.description="Trainer of Leadline: an exit policy from the workers' logs" \
      org.opencontainers.image.version="$VERSION"
RUN apt-get update && apt-get install -y --no-install-recommends \
      libpcre2-8-0 libprometheus-cpp-core1.0 libspdlog1.10 libssl3 libutf8proc2 libxxhash0 libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin leadline
COPY --from=build /build/bin/leadline /usr/local/bin/
COPY deploy/docker/leadline-train /usr/local/bin/
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
# It ends by itself: its exit status and its last line say how it went.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/leadline-train"]
