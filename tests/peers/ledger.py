"""Writes the ledger as any partner's application would: plain SQL on the table `entries`."""

import json
import sqlite3
import threading
from datetime import datetime, timezone


def now():
    return datetime.now(timezone.utc)


def rfc3339(moment):
    return moment.isoformat(timespec="milliseconds")


class Ledger:
    """One connection for each thread."""

    def __init__(self, path):
        self.path = path
        self.local = threading.local()

    def _db(self):
        if not hasattr(self.local, "db"):
            self.local.db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        return self.local.db

    def insert(self, attempt, failure, status=None):
        """One row; `ended_at` only where it has ended."""
        op = attempt.operation
        ended = None if failure == "intent" else rfc3339(attempt.ended_at)
        body = None if op.record_body is None else json.dumps(op.record_body, ensure_ascii=attempt.number % 2 == 0)
        self._db().execute(
            "INSERT INTO entries (request_id, operation_id, method, url, body, sent_at, ended_at, failure, http_status)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (attempt.request_id, op.id, op.method, attempt.url, body, rfc3339(attempt.sent_at), ended, failure, status),
        )

    def update(self, attempt, failure, status=None):
        self._db().execute(
            "UPDATE entries SET failure = ?, http_status = ?, ended_at = ? WHERE request_id = ? AND failure = 'intent'",
            (failure, status, rfc3339(attempt.ended_at), attempt.request_id),
        )

    def forget(self, attempt):
        """A clean answer at the first attempt needs no row. Where the job has looked at it this is refused: then it is
        evidence."""
        try:
            self._db().execute(
                "DELETE FROM entries WHERE request_id = ? AND failure = 'intent'", (attempt.request_id,)
            )
        except sqlite3.IntegrityError:
            pass

    def rows(self):
        columns = "request_id, operation_id, failure, http_status"
        return self._db().execute(f"SELECT {columns} FROM entries ORDER BY id").fetchall()
