FROM python:3.13-slim-trixie AS packages
WORKDIR /build
COPY requirements.lock .
# Without the packages of the tests. PostgreSQL runs in another container, but backups need its client programs.
RUN sed '/^# ==== tests and checks/,$d' requirements.lock > service.lock \
    && python -m venv --without-pip /opt/carbonapi \
    && python -m pip --python /opt/carbonapi/bin/python install --no-cache-dir --require-hashes -r service.lock \
    && printf '#!/bin/sh\nPYTHONPATH=/srv/carbonapi exec python -P -m carbonapi.commands "$@"\n' > /opt/carbonapi/bin/carbonapi \
    && chmod +x /opt/carbonapi/bin/carbonapi

FROM python:3.13-slim-trixie
COPY --from=packages /opt/carbonapi /opt/carbonapi
WORKDIR /srv/carbonapi
COPY wsgi.py .
COPY migrations migrations
COPY carbonapi carbonapi
ENV PATH=/opt/carbonapi/bin:$PATH PYTHONUNBUFFERED=1
# An account without a name, which owns nothing in the image.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["carbonapi", "serve", "--host", "0.0.0.0"]
