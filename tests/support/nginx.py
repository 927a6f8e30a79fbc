"""nginx in front of the service."""

import contextlib
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from .processes import wait_until
from .servers import free_port

CONFIGURATION = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    client_max_body_size 1025m;
    upstream carbonapi {{ server {address}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        {server}
        location {location} {{
            proxy_pass http://carbonapi{target};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_next_upstream off;
            {settings}
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(url, *, location="/", target="", server="", settings=""):
    """Yield the URL of an nginx in front of the service at `url`, and the folder with its error.log.

    target: what replaces the location in the path. server, settings: further lines of these blocks.
    """
    port = free_port()
    values = {"location": location, "target": target, "server": server, "settings": settings}
    with tempfile.TemporaryDirectory(prefix="carbonapi-nginx-") as name:
        folder = Path(name)
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(address=urlsplit(url).netloc, port=port, **values))
        folder.chmod(0o777)
        command = ["nginx", "-p", f"{folder}/", "-e", "error.log", "-c", str(configuration)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: process.poll() is not None or _answers(f"http://127.0.0.1:{port}/"))
            assert process.poll() is None, (folder / "error.log").read_text()
            yield f"http://127.0.0.1:{port}", folder
        finally:
            process.terminate()
            process.wait(20)


def _answers(url):
    try:
        urllib.request.urlopen(url).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError:
        return False
    return True
