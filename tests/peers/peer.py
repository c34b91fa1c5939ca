"""What all servers of the test have in common: a process of somebody else's code, its port, its end."""

import json
import os
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).parent


class Peer:
    """One server. A module for each kind of server derives from it."""

    name = ""
    plan = ""       # a file of fixtures/plans
    params = ""     # the plan's parameters, as a line of the configuration
    slow = 1        # how many times fewer operations it gets
    threads = 6     # clients at once

    def __init__(self, python, folder, rng):
        self.python, self.folder, self.rng = python, Path(folder), rng
        self.address = None
        self.process = None

    def spawn(self, arguments, environment=None):
        """Starts a process that prints its port and ends with its standard input."""
        env = {**os.environ, **(environment or {}), "PYTHONDONTWRITEBYTECODE": "1"}
        errors = open(self.folder / f"{self.name}.err", "w")
        self.process = subprocess.Popen(
            [self.python, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            env=env, cwd=self.folder, text=True,
        )
        errors.close()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} did not start:\n{(self.folder / f'{self.name}.err').read_text()[-2000:]}")
        self.address = ("127.0.0.1", json.loads(line)["port"])

    def stop(self):
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def start(self):
        """Starts the server."""

    def environment(self):
        """Secrets, for the job and the server."""
        return {}

    def headers(self):
        """A client's credentials."""
        return {}

    def auth(self, proxy_url):
        """The configuration's [auth]."""
        return ""

    def controls(self):
        """The configuration's [[control]]s."""
        return ""

    def operations(self, number):
        """Yields what a partner does."""

    def likeness(self, op):
        """What operations on a list share whose records nothing tells apart. Their clients record every answer."""

    def truth(self):
        """What the server's database says now."""


class Truth:
    """What the server's own database says, read once."""

    def made(self, op):
        """The ids of the records that bear the operation's mark: it made them."""
        raise NotImplementedError

    def bearing(self, op):
        """The ids of all records that bear the operation's key, whoever made them."""
        raise NotImplementedError

    def holds(self, op):
        """Whether what the operation asked for is so now."""
        raise NotImplementedError


class Token:
    """A client's bearer token, fetched anew before it ends."""

    def __init__(self, fetch, lasts):
        self.fetch, self.lasts, self.lock = fetch, lasts, threading.Lock()
        self.token, self.until = None, 0

    def get(self, clock):
        with self.lock:
            if clock() >= self.until:
                self.token, self.until = self.fetch(), clock() + self.lasts
            return self.token

