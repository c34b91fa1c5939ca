"""A partner's client: sends an operation's attempts through the proxy and records them in one of four ways."""

import http.client
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ledger import now
from proxy import FAULTS, send

# The four ways of recording.
WAYS = (
    "intent",   # an intent before sending, updated (or forgotten) afterwards; sometimes the client dies in between
    "after",    # a row only after the failure, no retry
    "answers",  # a row after each failure; retries until a definite answer, which is recorded as `answered`
    "retries",  # an intent for each attempt; several attempts in doubt share the operation's id
)
IN_DOUBT = (408, 425, 429, 499)


@dataclass
class Operation:
    id: str
    kind: str                       # create, list, update, upsert, delete
    method: str
    path: str                       # with its query, encoded
    body: Any = None                # what is sent: bytes, or JSON
    record_body: Any = None         # what the ledger keeps of it
    content_type: str = "application/json"
    headers: dict = field(default_factory=dict)
    mark: Any = None                # what its record bears in the server's database, and no other's
    key: Any = None                 # the unique key, owner or target, for the server's module
    later: Any = None               # another update of the same record, sent later
    alike: bool = False             # another operation asks for a record of the same list and name
    way: str = "after"
    faults: list = field(default_factory=list)
    dies: bool = False
    attempts: list = field(default_factory=list)
    passed: list = field(default_factory=list)  # the proxy's notes on its attempts

    def payload(self):
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        return json.dumps(self.body).encode()


@dataclass
class Attempt:
    operation: Operation
    number: int
    url: str
    fault: str
    sent_at: Any = None
    ended_at: Any = None
    failure: str = ""
    status: Any = None

    @property
    def request_id(self):
        return f"{self.operation.id}/{self.number}"


def choose(op, rng):
    """How the operation is recorded, and what becomes of each of its attempts."""
    op.way = rng.choice(WAYS)
    attempts = {"intent": 1, "after": 1, "answers": 3, "retries": rng.choice((2, 3))}[op.way]
    fault = lambda: "refused" if rng.random() < 0.05 else rng.choice(FAULTS)
    op.faults = [fault() if rng.random() < (0.9 if number == 0 else 0.6) else "none" for number in range(attempts)]
    op.dies = op.way in ("intent", "retries") and rng.random() < 0.15
    if op.way == "answers":
        op.faults.append("none")


class Client:
    def __init__(self, proxy, ledger, headers):
        self.proxy, self.ledger, self.headers = proxy, ledger, headers

    def play(self, op):
        """Sends until an answer is definite or the faults are used up."""
        for number, fault in enumerate(op.faults):
            attempt = Attempt(op, number, self.proxy.url + op.path, fault)
            op.attempts.append(attempt)
            last = number == len(op.faults) - 1
            if self.attempt(attempt, dies=op.dies and last):
                return
            if not last:
                time.sleep(0.05)

    def attempt(self, attempt, dies):
        """True when the answer was definite."""
        op, ahead = attempt.operation, attempt.operation.way in ("intent", "retries")
        attempt.sent_at = attempt.ended_at = now()
        if ahead:
            self.ledger.insert(attempt, "intent")
        attempt.failure, attempt.status = self.send(attempt)
        attempt.ended_at = now()
        if dies:
            return True  # nothing more is heard of it
        definite = attempt.failure == "answered"
        needed = attempt.number > 0 or op.alike  # a clean answer is evidence, too
        if ahead and definite and not needed:
            self.ledger.forget(attempt)
            self.ledger.update(attempt, "answered", attempt.status)  # where forgetting was refused
        elif ahead:
            self.ledger.update(attempt, attempt.failure, attempt.status)
        elif not definite or needed:
            self.ledger.insert(attempt, attempt.failure, attempt.status)
        return definite

    def send(self, attempt):
        """(failure, status), told by what happened to the connection."""
        op = attempt.operation
        if attempt.fault == "refused":
            return "not_sent", None
        headers = {**self.headers(), **op.headers}
        headers |= {"X-Peers-Fault": attempt.fault, "X-Peers-Attempt": attempt.request_id}
        if op.body is not None:
            headers["Content-Type"] = op.content_type
        patience = 0.7 if attempt.fault.startswith("hang") else 30
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=patience)
        try:
            connection.request(op.method, op.path, op.payload(), headers)
            answer = connection.getresponse()
            answer.read()
        except TimeoutError:
            return "timeout", None
        except (OSError, http.client.HTTPException):
            return "network", None
        finally:
            connection.close()
        in_doubt = answer.status >= 500 or answer.status in IN_DOUBT
        return ("http" if in_doubt else "answered"), answer.status


def direct(address, method, path, headers=None, body=None, content_type="application/json"):
    """A request without a proxy between: (status, parsed answer)."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        headers.setdefault("Content-Type", content_type)
        headers["Content-Length"] = str(len(body))
    headers = [("Host", f"{address[0]}:{address[1]}"), ("Connection", "close"), *headers.items()]
    answer = send(address, method, path, headers, body)
    try:
        return answer.status, json.loads(answer.body)
    except ValueError:
        return answer.status, answer.body.decode(errors="replace")


def in_threads(jobs, number):
    """Carries out the jobs, `number` at a time, in order; the first error ends it."""
    jobs, errors, lock = iter(jobs), [], threading.Lock()

    def work():
        while not errors:
            with lock:
                job = next(jobs, None)
            if job is None:
                return
            try:
                job()
            except Exception as error:  # shown by the caller
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
