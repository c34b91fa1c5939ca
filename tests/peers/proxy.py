"""A proxy on loopback that does to requests what networks and gateways do.

A client's write says by two headers what is to become of it (`X-Peers-Fault`) and which attempt it is
(`X-Peers-Attempt`); neither reaches the server. Everything else is a read of the job: a tenth of those is disturbed.
What was passed on, when, and what the server answered is kept, for the judge.
"""

import http.client
import http.server
import random
import socket
import struct
import threading
import time

OWN_HEADERS = ("x-peers-fault", "x-peers-attempt")
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection")
HANG = 12.0  # longer than any client waits

# What may happen to a write: does it reach the server, and what does the client see?
FAULTS = (
    "lost-before", "lost-after", "cut", "502-before", "502-after", "hang-before", "hang-after",
    "double", "double-second", "double-lost", "delay", "delay-502",
)
# What may happen to a read of the job.
DISTURBANCES = ("502", "503", "429", "reset", "cut", "hang", "page", "empty", "slow", "no-date")


class Answer:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body


class Proxy:
    def __init__(self, upstream, seed, share=0.1, read_hang=2.6):
        self.upstream, self.share, self.read_hang = upstream, share, read_hang
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.passed = []      # of writes: {attempt, fault, begun, done, status}
        self.reads = 0
        self.disturbed = {}
        self.delayed = []     # threads of delayed requests
        self.quiet = False    # no more disturbances
        self.delays = {"delay": (0.2, 0.9), "delay-502": (0.2, 1.7)}  # seconds, within the windows
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def forward(self, request, attempt=None, fault=None):
        """Passes a request on. What a write came to is noted, also when the server gave no answer."""
        begun, answer = time.time(), None
        try:
            answer = send(self.upstream, *request)
            return answer
        finally:
            if attempt is not None:
                note = {"attempt": attempt, "fault": fault, "begun": begun, "done": time.time()}
                note["status"] = answer.status if answer else None
                with self.lock:
                    self.passed.append(note)

    def later(self, seconds, request, attempt, fault):
        def run():
            time.sleep(seconds)
            self.forward(request, attempt, fault)

        thread = threading.Thread(target=run, daemon=True)
        with self.lock:
            self.delayed.append(thread)
        thread.start()

    def disturbance(self):
        with self.lock:
            self.reads += 1
            if self.quiet or self.random.random() >= self.share:
                return None
            kind = self.random.choice(DISTURBANCES)
            self.disturbed[kind] = self.disturbed.get(kind, 0) + 1
            return kind

    def between(self, low, high):
        with self.lock:
            return self.random.uniform(low, high)

    def drain(self):
        """Waits until every delayed request has been passed on."""
        for thread in list(self.delayed):
            thread.join(30)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def send(address, method, path, headers, body):
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Answer(answer.status, answer.reason, answer.getheaders(), answer.read())
    finally:
        connection.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client that gave up


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None
    timeout = 60

    def log_message(self, *_):
        pass

    def handle_any(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        fault, attempt = self.headers.get("x-peers-fault"), self.headers.get("x-peers-attempt")
        kept = [(n, v) for n, v in self.headers.items() if n.lower() not in OWN_HEADERS + HOP_BY_HOP]
        request = (self.command, self.path, kept + [("Connection", "close")], body)
        if attempt is None:
            self.read(request, self.owner.disturbance())
        else:
            self.write(request, attempt, fault)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    def write(self, request, attempt, fault):
        owner = self.owner
        if fault in ("lost-before", "502-before", "hang-before"):
            answer = None
        elif fault in owner.delays:
            owner.later(owner.between(*owner.delays[fault]), request, attempt, fault)
            answer = None
        else:
            answer = owner.forward(request, attempt, fault)
            if fault.startswith("double"):
                second = owner.forward(request, attempt, fault)
                answer = second if fault == "double-second" else answer
        if fault in ("none", "double", "double-second"):
            self.relay(answer)
        elif fault in ("502-before", "502-after", "delay-502"):
            self.bad_gateway(502)
        elif fault in ("hang-before", "hang-after"):
            time.sleep(HANG)
            self.reset()
        elif fault == "cut":
            self.cut(answer)
        else:
            self.reset()

    def read(self, request, kind):
        if kind in ("502", "503"):
            return self.bad_gateway(int(kind))
        if kind == "429":
            return self.plain(429, b'{"detail": "slow down"}', "application/json", [("Retry-After", "1")])
        if kind == "page":
            return self.plain(200, b"<html><body>Back soon</body></html>", "text/html")
        if kind == "empty":
            return self.plain(200, b"{}", "application/json")
        if kind == "reset":
            return self.reset()
        if kind == "hang":
            time.sleep(self.owner.read_hang)
            return self.reset()
        if kind == "slow":
            time.sleep(0.5)
        answer = self.owner.forward(request)
        if kind == "no-date":
            answer.headers = [(name, value) for name, value in answer.headers if name.lower() != "date"]
        return self.cut(answer) if kind == "cut" else self.relay(answer)

    def relay(self, answer):
        self.head(answer, len(answer.body))
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def head(self, answer, length):
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers:
            if name.lower() not in HOP_BY_HOP + ("content-length",):
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def cut(self, answer):
        """Promises more than it sends."""
        answer.status = 200 if answer.status == 204 else answer.status
        self.head(answer, len(answer.body) + 40)
        self.wfile.write(answer.body[: len(answer.body) // 2])
        self.wfile.flush()
        self.close_connection = True

    def bad_gateway(self, status):
        self.plain(status, b"<html><body>Bad gateway</body></html>", "text/html")

    def plain(self, status, body, content_type, more=()):
        self.send_response(status)
        for name, value in [("Content-Type", content_type), ("Content-Length", str(len(body))), *more]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reset(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
