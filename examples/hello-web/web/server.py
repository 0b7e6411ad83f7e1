"""A small web application: says which version runs on which host, and answers health checks."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = json.loads((HERE / "release.json").read_text())
PAGE = (HERE / "index.html").read_text()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            healthy = not RELEASE.get("broken")
            self.answer(200 if healthy else 500, "application/json", json.dumps({"healthy": healthy, **RELEASE}))
        elif self.path == "/":
            page = PAGE.replace("{{version}}", RELEASE["version"]).replace("{{host}}", os.environ.get("HELLO_HOST", "?"))
            self.answer(200, "text/html; charset=utf-8", page.replace("{{commit}}", RELEASE["commit"]))
        else:
            self.answer(404, "text/plain", "not here\n")

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # requests under way end before the process does
    allow_reuse_address = True


def main():
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()


if __name__ == "__main__":
    main()
