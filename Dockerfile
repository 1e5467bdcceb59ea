# lbcore as a container: without root, with a root file system that may be read-only.
#
#     make image                                       builds the wheel into dist/, then this
#     docker run --read-only --tmpfs /tmp --cap-drop ALL -p 8000:8000 lbcore
#
# dist/ has lbcore's wheel; what it needs comes from PyPI, or from dist/ alone with `--build-arg PIP_NO_INDEX=1`.
ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
ARG PIP_NO_INDEX=
ARG EXTRAS=all
COPY dist/ /dist/
RUN python3 -m venv /opt/lbcore \
    && /opt/lbcore/bin/pip install --no-cache-dir --disable-pip-version-check --find-links /dist "lbcore[${EXTRAS}]" \
    && /opt/lbcore/bin/pip uninstall --yes --disable-pip-version-check pip

FROM ${PYTHON}
LABEL org.opencontainers.image.title="lbcore" \
      org.opencontainers.image.description="L7/L4 load balancer and edge proxy, configured by Traefik's own files" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/lbcore /opt/lbcore
COPY packaging/container/lbcore.yml /usr/share/lbcore/lbcore.yml
ENV PATH=/opt/lbcore/bin:$PATH PYTHONDONTWRITEBYTECODE=1
# As in the image of Traefik: /traefik.yml is found, and acme.json is /acme.json.
WORKDIR /
# No name is needed: a number works where the image has no such user.
USER 65532:65532
EXPOSE 8000 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["lbcore", "healthcheck"]
ENTRYPOINT ["lbcore"]
CMD ["run"]
