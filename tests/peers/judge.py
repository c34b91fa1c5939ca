"""Judges a report against the server's own database.

Wrong: a verdict that the database contradicts. Undecided: pending, or duplicate-risk of unknown outcome. Lost: an entry
of the ledger that the report does not name.
"""

from collections import Counter
from dataclasses import dataclass, field

RIGHT, WRONG, UNDECIDED = "right", "wrong", "undecided"


@dataclass
class Judgement:
    verdicts: Counter = field(default_factory=Counter)    # (kind, status, outcome, reason, action) -> rows
    counts: Counter = field(default_factory=Counter)      # right, wrong, undecided -> rows
    undecided: Counter = field(default_factory=Counter)   # (kind, reason, what the database says) -> rows
    wrong: list = field(default_factory=list)
    lost: list = field(default_factory=list)

    @property
    def clean(self):
        return not self.wrong and not self.lost


def taken_back(op, truth):
    """A later operation wrote over its update, or deleted the account that it made something for."""
    if op.later is None:
        return False
    return truth.holds(op.later) if op.later.kind == "delete" else not truth.holds(op)


def applied(op, truth):
    """How often the operation was applied, by the server's database. What was taken back is no longer in it: of that the
    proxy's log says how often the server answered with success."""
    if taken_back(op, truth):
        return sum(note["status"] in range(200, 300) for note in op.passed)
    if op.kind in ("create", "list", "upsert"):
        return len(truth.made(op))
    return int(truth.holds(op))


def verdict(row, op, truth, recorded):
    """(right, wrong or undecided, why); `recorded` are the operations that the ledger knows."""
    times, outcome, action = applied(op, truth), row["outcome"], row["action"]
    makes = op.kind in ("create", "list", "upsert")
    if times and makes and (action == "resend" or (action == "may-resend" and op.kind == "list")):
        return WRONG, f"{action} of what was applied {times} times"
    later = op.later if op.later and op.later.id in recorded else None  # what is not in the ledger the job cannot know
    if action == "resend" and op.kind == "update" and later and applied(later, truth):
        return WRONG, f"resend would undo the later update {later.id}"
    if taken_back(op, truth) and outcome in ("applied", "satisfied"):
        return (RIGHT if times else WRONG), f"applied {times} times and then taken back"
    if action == "store-id" and row["server_id"] not in truth.bearing(op):
        return WRONG, f"store-id of {row['server_id']!r}, the key is borne by {truth.bearing(op)}"
    if row["status"] == "pending" or (row["status"] == "duplicate-risk" and outcome == "unknown"):
        return UNDECIDED, f"applied {times} times"
    if outcome == "applied":
        own = not makes or row["server_id"] in truth.made(op)
        return (RIGHT if times == 1 and own else WRONG), f"applied {times} times, its records {truth.made(op)}"
    if outcome == "satisfied":
        if times > 1 and action == "none":  # an answer said success; that it was done twice none shows
            return UNDECIDED, f"applied {times} times, answered with success"
        there = bool(truth.bearing(op)) if op.kind in ("create", "list") else bool(times)
        return (RIGHT if there and times < 2 else WRONG), f"applied {times} times, there: {there}"
    if outcome == "not-applied":
        return (RIGHT if times == 0 else WRONG), f"applied {times} times"
    if outcome == "duplicated" and op.alike and times < 2:
        # Another operation's request was doubled on the way, and nothing tells the records apart. PRIVO is asked: no harm.
        return UNDECIDED, f"said duplicated, of operations alike, applied {times} times"
    if outcome == "duplicated":
        return (RIGHT if times > 1 else WRONG), f"applied {times} times"
    return WRONG, f"an outcome that the judge does not know: {outcome!r}"


def judge(report, operations, ledger_rows, truth):
    """`report`: rows of the CSV; `operations`: by id."""
    judgement, recorded = Judgement(), {operation for _, operation, _, _ in ledger_rows}
    for row in report:
        op = operations[row["operation_id"]]
        said, why = verdict(row, op, truth, recorded)
        judgement.counts[said] += 1
        judgement.verdicts[(op.kind, row["status"], row["outcome"], row["reason"], row["action"])] += 1
        if said == UNDECIDED:
            judgement.undecided[(op.kind, row["reason"], why)] += 1
        if said == WRONG:
            judgement.wrong.append((row, why))
    named = {row["request_id"] for row in report}
    judgement.lost = [name for name, _, failure, _ in ledger_rows if failure != "answered" and name not in named]
    return judgement


def judge_early(report, operations, truth, ended_before):
    """A report from the midst of the play. What it said to send again must not have been applied, then or later, by an
    attempt that had ended before the run began."""
    wrong = []
    for row in report:
        op = operations[row["operation_id"]]
        over = op.attempts and all(attempt.ended_at <= ended_before for attempt in op.attempts)
        if over and row["outcome"] == "not-applied" and applied(op, truth):
            wrong.append((row, f"said early, applied {applied(op, truth)} times"))
    return wrong


def check_windows(operations, passed, windows):
    """Requests that the server finished later than the configured windows allow: the test's own conditions broke."""
    attempts = {attempt.request_id: attempt for op in operations.values() for attempt in op.attempts}
    late = set()
    for note in passed:
        attempt = attempts.get(note["attempt"])
        if attempt is None or attempt.failure in ("", "answered"):
            continue
        window = windows["server_error" if attempt.failure == "http" else "network"]
        if note["done"] > attempt.ended_at.timestamp() + window - 0.1:
            late.add(attempt.operation.id)
    return late
