"""Django REST framework with django-oauth-toolkit, and what a partner does there."""

import sqlite3
import time
from urllib.parse import quote, urlencode

from client import Operation, direct
from names import awkward, birth, email, given
from peer import HERE, Peer, Token, Truth


# What a partner does there, and how often.
KINDS = ("email",) * 7 + ("user_name",) * 4 + ("child", "guardian", "contact", "again", "delete") * 2
KINDS += ("patch", "put") * 3 + ("there", "same", "orphan")


# Lists of an account: pages by `next`, a bare array, pages by the `Link` header.
LISTS = {"child": "children", "guardian": "guardians", "contact": "contacts"}


class Drf(Peer):
    name = "drf"
    plan = "drf-accounts.toml"

    def start(self):
        self.database = self.folder / "site.db"
        self.secret = f"secret-{self.rng.getrandbits(128):032x}"
        self.spawn([HERE / "drf_site.py", self.database], self.environment())
        self.token = Token(self.fetch_token, 12)

    def environment(self):
        return {"PEERS_CLIENT_ID": "partner", "PEERS_CLIENT_SECRET": self.secret}

    def fetch_token(self):
        form = {"grant_type": "client_credentials", "scope": "accounts"}
        form |= {"client_id": "partner", "client_secret": self.secret}
        kind = "application/x-www-form-urlencoded"
        status, answer = direct(self.address, "POST", "/o/token/", None, urlencode(form).encode(), kind)
        if status != 200:
            raise RuntimeError(f"no token: {status} {answer}")
        return answer["access_token"]

    def headers(self):
        return {"Authorization": f"Bearer {self.token.get(time.monotonic)}"}

    def auth(self, proxy_url):
        way = self.rng.choice(("", 'client_auth = "basic"'))  # in the form, or in a header: the server takes both
        return f"""
{way}
token_url = "{proxy_url}/o/token/"
client_id = {{ env = "PEERS_CLIENT_ID" }}
client_secret = {{ env = "PEERS_CLIENT_SECRET" }}
scope = "accounts"
"""

    def call(self, method, path, body=None):
        status, answer = direct(self.address, method, path, self.headers(), body)
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def prepare(self, number):
        """What is there before: a known account with one of each list, and parents with some of each."""
        known = "canary-of-the-club"
        self.canary = self.call("POST", "/api/accounts/", {
            "email": f"{known}@example.com", "user_name": known, "external_id": known,
            "given_name": "Kim", "birth_date": "2010-02-03",
        })
        one = {"given_name": "Kim", "birth_date": "2012-02-03"}
        path = f"/api/accounts/{self.canary['id']}"
        self.members = {name: self.call("POST", f"{path}/{name}/", one)["id"] for name in LISTS.values()}
        self.parents = [self.seed(f"parent{n}@example.com") for n in range(max(2, number // 40))]
        for parent, name in [(parent, name) for parent in self.parents for name in LISTS.values()]:
            for n in range(self.rng.choice((0, 4, 11, 23))):
                older = {"given_name": f"Older {n}", "birth_date": birth(n)}
                self.call("POST", f"/api/accounts/{parent}/{name}/", older)

    def operations(self, number):
        """Yields what a partner does; what must be there for it is made just before."""
        self.prepare(number)
        self.made, self.followed, self.last_email = [], [], email(0)
        for n in range(number):
            kind = self.rng.choice(KINDS)
            if kind == "again" and len(self.followed) < 4:
                kind = "patch"
            op = Operation(f"drf-{n}", "create", "POST", "/api/accounts/", mark=f"mark-{n}")
            op.body = {"given_name": awkward(n) if n % 3 == 0 else given(n), "birth_date": birth(n), "note": op.mark}
            if kind in LISTS or kind == "orphan":
                self.listed(op, kind, n)
            elif kind in ("patch", "put", "delete"):
                getattr(self, kind)(op, n)
            elif kind == "again":
                self.again(op, n)
            else:
                self.create(op, kind, n)
            op.record_body = op.body
            yield op

    def create(self, op, kind, n):
        """An account with a unique key: a new one, one that somebody has, or that of another operation."""
        if kind == "user_name":
            op.body["user_name"] = awkward(n)
            return
        op.body["email"] = self.last_email if kind == "same" else email(n)
        self.last_email = op.body["email"]
        if kind == "there":
            self.seed(email(n), op.body["given_name"])

    def listed(self, op, kind, n):
        """One of an account's lists; some share a name, and of an `orphan` the account may be deleted afterwards."""
        op.kind, op.key = "list", self.rng.choice(self.parents)
        if kind == "orphan":
            op.key, kind = self.seed(f"bereft{n}@example.com"), self.rng.choice(list(LISTS))
            self.followed.append(op)
        elif self.made and self.rng.random() < 0.1:
            op.body["given_name"], op.body["birth_date"] = self.rng.choice(self.made)
        op.path = f"/api/accounts/{op.key}/{LISTS[kind]}/"
        self.made.append((op.body["given_name"], op.body["birth_date"]))

    def patch(self, op, n):
        op.kind, op.method = "update", "PATCH"
        op.key = self.seed(f"patched{n}@example.com", nickname="" if n % 4 == 0 else f"before {n}")
        op.path, op.body = f"/api/accounts/{op.key}/", {"nickname": awkward(n)}
        self.followed.append(op)

    def again(self, op, n):
        """Something later happens to the record of an earlier operation, or to its account."""
        first = self.followed.pop(0)
        first.later, op.key, op.path = op, first.key, f"/api/accounts/{first.key}/"
        op.kind, op.method, op.body = "update", "PATCH", {"nickname": awkward(n)}
        if first.kind == "list":
            op.kind, op.method, op.body = "delete", "DELETE", None

    def put(self, op, n):
        op.kind, op.method, op.key = "upsert", "PUT", awkward(n)
        op.path = f"/api/external/{quote(op.key, safe='')}"
        op.body["nickname"] = f"nick {n}"
        if n % 2:
            self.call("PUT", op.path, {"given_name": "Before", "nickname": "before"})

    def delete(self, op, n):
        op.kind, op.method, op.key = "delete", "DELETE", self.seed(f"deleted{n}@example.com")
        op.path, op.body = f"/api/accounts/{op.key}/", None

    def seed(self, address, given_name="Seed", **more):
        return self.call("POST", "/api/accounts/", {"email": address, "given_name": given_name, **more})["id"]

    def likeness(self, op):
        return op.path, op.body["given_name"].strip().casefold()

    def controls(self):
        known = "canary-of-the-club"
        fields = 'fields = { given_name = "Kim", birth_date = "2010-02-03" }'
        keys = {
            "account-by-email": f"{known}@example.com", "account-by-user-name": known,
            "account-by-external-id": known, "account-by-id": str(self.canary["id"]),
        }
        text = "".join(f'[[control]]\nlookup = "{name}"\nkey = "{key}"\n{fields}\n' for name, key in keys.items())
        of_list = '[[control]]\nlookup = "{name}-of-account"\nkey = "{key}"\nmember = "{member}"\n{fields}\n'
        fields = fields.replace("2010", "2012")
        lists = self.members.items()
        return text + "".join(of_list.format(name=n, key=self.canary["id"], member=m, fields=fields) for n, m in lists)

    def truth(self):
        db = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)
        db.row_factory = sqlite3.Row
        read = lambda table: [dict(row) for row in db.execute(f"SELECT * FROM {table}")]
        tables = {"children": "accounts_child", "guardians": "accounts_guardian", "contacts": "accounts_contact"}
        listed = {name: read(table) for name, table in tables.items()}
        accounts = read("accounts_account")
        db.close()
        return DrfTruth(accounts, listed)


class DrfTruth(Truth):
    def __init__(self, accounts, listed):
        self.accounts, self.listed = accounts, listed
        self.by_id = {row["id"]: row for row in accounts}

    def rows(self, op):
        return self.listed[op.path.split("/")[4]] if op.kind == "list" else self.accounts

    def made(self, op):
        return [str(row["id"]) for row in self.rows(op) if row["note"] == op.mark]

    def bearing(self, op):
        return [str(row["id"]) for row in self.rows(op) if self.bears(row, op)]

    def bears(self, row, op):
        if op.kind == "create":
            name = "email" if "email" in op.body else "user_name"
            return row[name] == op.body[name].strip()
        if op.kind == "list":
            return row["account_id"] == op.key and row["given_name"] == op.body["given_name"].strip()
        return row["external_id" if op.kind == "upsert" else "id"] == op.key

    def holds(self, op):
        if op.kind == "delete":
            return op.key not in self.by_id
        if op.kind == "update":
            return op.key in self.by_id and self.by_id[op.key]["nickname"] == op.body["nickname"].strip()
        return bool(self.made(op))
