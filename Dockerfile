# syntax=docker/dockerfile:1
# Two stages: the first has a compiler and builds an environment with the gateway in machine code, the second has
# that environment alone. Both are the same image, for an environment leads to its interpreter by path.

FROM python:3.13-slim AS build
# Debian's mirrors keep one version of a package, and nothing of these gets into the second stage:
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PROJECT_ENVIRONMENT=/app/.venv UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY . .
# --no-editable builds the wheel, whose hook compiles; versions are those that pyproject.toml pins
RUN uv sync --no-default-groups --no-editable --all-extras
# What nothing reads: setuptools, of which Sanic imports nothing; Swagger's editor and other builds; sources and types
# for other compilers and checkers; debuggers' symbols.
RUN uv pip uninstall --python /app/.venv setuptools \
    && find /app/.venv -path '*/swagger_ui/static/*.*' ! -name swagger-ui-bundle.js ! -name swagger-ui.css \
        ! -name favicon-32x32.png -delete \
    && find /app/.venv -name '*.py[ix]' -delete -o -name '*.pxd' -delete \
    && find /app/.venv -name '*.so' -exec strip --strip-unneeded {} + \
    && /app/.venv/bin/coregateway check

FROM python:3.13-slim
COPY --from=build /app/.venv /app/.venv
# no bytecode is written in a file system that is read-only, and log lines are not held back
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/app/.venv/bin:$PATH
# for clients, for operators
EXPOSE 8001 9001
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/app/.venv/bin/coregateway", "health"]
ENTRYPOINT ["/app/.venv/bin/coregateway"]
CMD ["run"]
