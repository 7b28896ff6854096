# Two targets:
#   docker build .                  mcp-pipe with Python, uv (uvx) and Node.js (npx): starts the usual MCP servers
#   docker build --target slim .    mcp-pipe alone, as a base for an image with your own servers
#
# podman needs `--format docker`: the OCI format has no HEALTHCHECK.

FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY . .
# The caches keep compiled dependencies from one build to the next. The files touched may be older than what is in there,
# and cargo compares times only.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin mcp-pipe \
    && cp target/release/mcp-pipe /usr/local/bin/


FROM debian:trixie-slim AS slim
# tini is process 1: it forwards signals to mcp-pipe and reaps what the servers' own children leave behind.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tini \
    && rm -rf /var/lib/apt/lists/*
# Its home is for the caches of npx, uvx and mcp-pipe itself.
RUN useradd --uid 10001 --user-group --create-home mcp
COPY --from=build /usr/local/bin/mcp-pipe /usr/local/bin/
WORKDIR /config
# Named, so that the health check means this one, also while another one runs in the same container.
ENV MCP_CONTROL_SOCKET=/tmp/mcp-pipe.sock
USER mcp
ENTRYPOINT ["tini", "--", "mcp-pipe"]
# Asks the running daemon. The long start period is for servers that download themselves at their first start.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 CMD ["mcp-pipe", "health"]


FROM node:24-trixie-slim AS node


FROM slim AS full
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends git python3 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir --break-system-packages uv
COPY --from=node /usr/local/bin/node /usr/local/bin/
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
# Nobody who could act on it reads that a newer npm exists.
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
COPY mcp_config.json ./
COPY examples examples
USER mcp
