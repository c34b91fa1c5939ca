"""Plays privo-reconcile against servers that others wrote. See README.md; `run.sh` starts it."""

import argparse
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from client import Attempt, Client, choose, direct, in_threads
from judge import check_windows, judge, judge_early, taken_back
from ledger import Ledger, now
from peer import HERE
from proxy import Proxy

PLANS = HERE.parent.parent / "fixtures" / "plans"
SECONDS = {"network": 2, "server_error": 3, "intent": 2, "confirm_after": 1}
SERVERS = ("drf", "scim", "matrix")


def server_class(name):
    if name == "drf":
        from drf import Drf
        return Drf
    if name == "scim":
        from scim import Scim
        return Scim
    from matrix import Matrix
    return Matrix


class Play:
    """One server, from its start to the table."""

    def __init__(self, peer, options, folder, number):
        self.peer, self.options, self.folder, self.number = peer, options, Path(folder), number
        self.rng = random.Random(f"{options.seed}-{peer.name}")
        self.operations, self.early, self.seconds = {}, [], {}
        self.exit_codes = Counter()

    # --- The job ---------------------------------------------------------------------------------------------------

    def configure(self):
        """The configuration file; its windows are seconds, and the faults keep within them."""
        plan = (PLANS / self.peer.plan).read_text(encoding="utf-8")
        if self.options.broken == "pages":  # a plan that says that the first page is the whole list
            plan = re.sub(r"^record = \{ (.*) \}\npages = .*$", r"record = { \1, whole = true }", plan, flags=re.M)
        (self.folder / "plan.toml").write_text(plan, encoding="utf-8")
        windows = "\n".join(f'{name} = "{value}s"' for name, value in SECONDS.items())
        auth = self.peer.auth(self.proxy.url)
        text = f"""plan = "plan.toml"
{self.peer.params}
[ledger]
path = "ledger.db"
[server]
base_url = "{self.proxy.url}"
requests_per_second = 500
concurrency = 4
timeout = "2s"
[auth]
{auth}
[settle]
{windows}
replica_lag = "0s"
writer_error = "1s"
watch = "1h"
{self.peer.controls()}
"""
        (self.folder / "privo-reconcile.toml").write_text(text)

    def job(self, *arguments, allowed=(0, 3, 4)):
        command = [self.options.bin, "--config", str(self.folder / "privo-reconcile.toml"), *arguments]
        env = {**os.environ, **self.peer.environment()}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        self.exit_codes[done.returncode] += 1
        if done.returncode not in allowed:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def check(self):
        """Undisturbed, `check` must find nothing wrong: plan, credentials and controls fit the server."""
        self.proxy.quiet = True
        self.job("check", allowed=(0,))
        self.proxy.quiet = False

    def report(self, path):
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def run_meanwhile(self):
        """The job runs while the clients play, as cron would start it."""
        number = 0
        while not self.over.is_set():
            file, began = self.folder / f"early-{number}.csv", now()
            self.job("run", "--wait", "1s", "--report", str(file))
            self.early.append((began, self.report(file)))
            number += 1
            self.over.wait(1)

    # --- The play --------------------------------------------------------------------------------------------------

    def play(self):
        self.peer.start()
        self.proxy = Proxy(self.peer.address, f"{self.options.seed}-{self.peer.name}-proxy")
        if self.options.broken == "windows":
            self.proxy.delays = dict.fromkeys(self.proxy.delays, (20, 25))
        try:
            operations = list(self.peer.operations(self.number))
            self.operations = {op.id: op for op in operations}
            self.configure()
            self.job("init", allowed=(0,))
            self.check()
            time.sleep(3)  # what was there before is surely older, by clocks that may be wrong by a second or two
            self.ledger = Ledger(self.folder / "ledger.db")
            self.timed("clients", lambda: self.play_clients(operations))
            self.timed("job", self.decide)
            first = self.judge_now()
            resent = self.timed("resend", self.resend)
            self.job("verify", allowed=(0,))  # every verdict follows from its stored evidence
            return first, resent
        finally:
            self.proxy.close()
            self.peer.stop()

    def timed(self, name, work):
        began = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - began
        return result

    def play_clients(self, operations):
        self.over, failed = threading.Event(), []

        def meanwhile():
            try:
                self.run_meanwhile()
            except Exception as error:  # told when the clients are done
                failed.append(error)

        runner = threading.Thread(target=meanwhile)
        client = Client(self.proxy, self.ledger, self.peer.headers)
        alike = Counter(self.peer.likeness(op) for op in operations if op.kind == "list")
        for op in operations:
            choose(op, self.rng)
            op.alike = op.kind == "list" and alike[self.peer.likeness(op)] > 1
        runner.start()
        try:
            in_threads([lambda op=op: client.play(op) for op in operations], self.peer.threads)
        finally:
            self.over.set()
            runner.join()
            if self.options.broken != "windows":
                self.proxy.drain()
        if failed:
            raise failed[0]

    def decide(self):
        """Runs until nothing is pending that waiting could decide, six times at the most."""
        for _ in range(6):
            self.job("run", "--wait", "20s")
            report = self.full_report("now.csv")
            if not any(row["status"] == "pending" and row["action"] != "review" for row in report):
                break

    def full_report(self, name):
        path = self.folder / name
        self.job("report", "--reveal", str(path), allowed=(0,))
        return self.report(path)

    def judge_now(self):
        for note in self.proxy.passed:
            self.operations[note["attempt"].rpartition("/")[0]].passed.append(note)
        self.proxy.drain()
        truth, report = self.peer.truth(), self.full_report("report.csv")
        judgement = judge(report, self.operations, self.ledger.rows(), truth)
        self.late = check_windows(self.operations, self.proxy.passed, SECONDS)
        for began, rows in self.early:
            judgement.wrong.extend(judge_early(rows, self.operations, truth, began))
        if self.options.broken == "windows":
            self.late = set()
        judgement.wrong = [(row, why) for row, why in judgement.wrong if row["operation_id"] not in self.late]
        return judgement

    def resend(self):
        """Does what the report advises, straight to the server, and judges again."""
        advice = {row["operation_id"]: row["action"] for row in self.full_report("before-resend.csv")}
        sent = [self.operations[name] for name, action in advice.items() if action in ("resend", "may-resend")]
        sent.sort(key=lambda op: op.attempts[0].sent_at)
        headers = self.peer.headers
        for op in sent:
            attempt = Attempt(op, 100 + len(op.attempts), self.proxy.url + op.path, "none", now())
            all_headers = {**headers(), **op.headers}
            status, _ = direct(self.peer.address, op.method, op.path, all_headers, op.body, op.content_type)
            attempt.ended_at, attempt.failure, attempt.status = now(), "answered", status
            self.ledger.insert(attempt, "answered", status)
        self.decide()
        truth = self.peer.truth()
        judgement = judge(self.full_report("after-resend.csv"), self.operations, self.ledger.rows(), truth)
        judgement.resent = len(sent)
        judgement.not_once = [op for op in sent if not once(op, truth) and op.id not in self.late]
        return judgement


def once(op, truth):
    """After the advice was followed the operation is applied exactly once, or what it wanted is there by another's work."""
    if taken_back(op, truth):
        return True
    if op.kind in ("create", "list"):
        by_another = op.kind == "create" and not truth.made(op) and len(truth.bearing(op)) == 1
        return len(truth.made(op)) == 1 or by_another
    return truth.holds(op) and (op.kind != "upsert" or len(truth.bearing(op)) == 1)


# --- The table -----------------------------------------------------------------------------------------------------


def show(play, first, resent):
    name, rows = play.peer.name, sum(first.counts.values())
    reads = play.proxy.reads
    disturbed = sum(play.proxy.disturbed.values())
    print(f"\n== {name}: {len(play.operations)} operations, {rows} entries in doubt, "
          f"{reads} reads of the job of which {disturbed} disturbed")
    print("   " + ", ".join(f"{what} {seconds:.0f} s" for what, seconds in play.seconds.items()))
    print(f"   {'kind':7} {'status':15} {'outcome':12} {'reason':17} {'action':14} entries")
    for (kind, status, outcome, reason, action), count in sorted(first.verdicts.items()):
        print(f"   {kind:7} {status:15} {outcome:12} {reason:17} {action:14} {count:7}")
    print(f"   right {first.counts['right']}, undecided {first.counts['undecided']}, wrong {len(first.wrong)}, "
          f"lost {len(first.lost)}; early reports {len(play.early)}; windows broken by {len(play.late)} operations")
    for (kind, reason, why), count in sorted(first.undecided.items()):
        print(f"   undecided: {count} {kind}, {reason} ({why})")
    print(f"   sent again as advised: {resent.resent} operations, not applied exactly once {len(resent.not_once)}; "
          f"afterwards wrong {len(resent.wrong)}, lost {len(resent.lost)}")
    for row, why in (first.wrong + resent.wrong)[:20]:
        columns = ("request_id", "status", "outcome", "reason", "action", "server_id")
        shown = " ".join(f"{key}={row[key]!r}" for key in columns)
        op = play.operations[row["operation_id"]]
        print(f"   WRONG {shown}: {why}; {op.method} {op.path} {op.way} {op.faults}")
    for name in first.lost[:20]:
        print(f"   LOST {name}")
    for op in resent.not_once[:20]:
        print(f"   NOT ONCE {op.id} {op.kind} {op.method} {op.path} {op.faults}")


def arguments():
    parser = argparse.ArgumentParser(prog="tests/peers/run.sh", description="Plays the job against servers of others.")
    parser.add_argument("--bin", required=True, help="the command that is tested")
    parser.add_argument("--venv", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="fewer operations: about three minutes in all")
    parser.add_argument("--server", action="append", choices=SERVERS, help="only this one (may be repeated)")
    parser.add_argument("--operations", type=int, help="for each server (default 300; 60 with --short)")
    parser.add_argument("--seed", default="1")
    broken = "apply delayed requests later than the windows, or read one page of each list: then it must end with 1"
    parser.add_argument("--break", dest="broken", choices=("windows", "pages"), help=broken)
    parser.add_argument("--keep", action="store_true", help="leave ledgers, reports and databases, and say where")
    return parser.parse_args()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and folders are cleared away
    number = options.operations or (60 if options.short else 300)
    python = str(Path(options.venv) / "bin" / "python")
    clean, work = True, Path(tempfile.mkdtemp(prefix="privo-reconcile-peers-"))
    try:
        for name in options.server or SERVERS:
            kind = server_class(name)
            folder = work / name
            folder.mkdir()
            peer = kind(python, folder, random.Random(f"{options.seed}-{name}-world"))
            play = Play(peer, options, folder, max(20, number // kind.slow))
            first, resent = play.play()
            show(play, first, resent)
            clean &= first.clean and resent.clean and not resent.not_once
    finally:
        if options.keep:
            print(f"kept in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    print("\nno wrong verdict, no entry lost" if clean else "\nWRONG VERDICTS OR LOST ENTRIES")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
