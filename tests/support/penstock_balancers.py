"""Real HAProxy and nginx in front of a small server whose status a test chooses."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock_ports import reserved_port
from penstock_waiting import until


def ask(url: str) -> int:
    """The status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@dataclass
class Shop:
    """What is deployed: it answers with a status."""

    url: str = ""
    status: int = 200


@contextlib.contextmanager
def shop() -> Iterator[Shop]:
    """A server whose status can be changed."""
    made = Shop()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(made.status)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"healthy")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class Balancer:
    """Where it answers, and where it shows its counters."""

    url: str
    statistics: str
    socket: str = ""


@contextlib.contextmanager
def haproxy(folder: Path, behind: Shop) -> Iterator[Balancer]:
    """An HAProxy with a socket in `folder`, whose path must be short."""
    site, page = reserved_port(), reserved_port()
    (folder / "haproxy.cfg").write_text(
        f"global\n  stats socket {folder}/admin.sock mode 600\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
        f"frontend site\n  bind 127.0.0.1:{site}\n  default_backend web\n"
        f"backend web\n  server web-1 {behind.url.removeprefix('http://')}\n"
        f"frontend page\n  bind 127.0.0.1:{page}\n  stats enable\n  stats uri /stats\n"
    )
    with _running("haproxy", "-db", "-f", str(folder / "haproxy.cfg")):
        made = Balancer(f"http://127.0.0.1:{site}/", f"http://127.0.0.1:{page}/stats", str(folder / "admin.sock"))
        until(lambda: ask(made.statistics) == 200)
        yield made


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Balancer]:
    """An nginx."""
    port = reserved_port()
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        "http {\n  access_log off;\n"
        + "".join(f"  {kind}_temp_path {folder};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"  server {{\n    listen 127.0.0.1:{port};\n    location = /status {{ stub_status; }}\n"
        "    location / { return 200 healthy; }\n  }\n}\n"
    )
    with _running("nginx", "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")):
        made = Balancer(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/status")
        until(lambda: ask(made.statistics) == 200)
        yield made
