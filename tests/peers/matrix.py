"""Synapse, a Matrix homeserver: users, rooms, tokens and uploads, and what a partner does there."""

import hashlib
import hmac
import json
import sqlite3
from urllib.parse import quote

from client import Operation, direct
from names import awkward
from peer import HERE, Peer, Truth

SERVER = "peers.example"
# What a partner does there, and how often.
KINDS = ("put-user",) * 5 + ("room",) * 5 + ("token",) * 4 + ("upload",) * 4 + ("update",) * 3 + ("remove",) * 2
KINDS += ("deactivate", "same", "there")


class Matrix(Peer):
    name = "matrix"
    plan = "matrix-homeserver.toml"
    threads = 4
    params = f'params = {{ server = "{SERVER}" }}'

    def start(self):
        self.secret = f"secret-{self.rng.getrandbits(128):032x}"
        self.database = self.folder / "homeserver.db"
        self.spawn([HERE / "matrix_site.py", self.folder], {"PEERS_SECRET": self.secret})
        self.token = self.register("canary-of-the-house")

    def register(self, name):
        """An administrator, by the secret that the homeserver's configuration holds."""
        _, answer = direct(self.address, "GET", "/_synapse/admin/v1/register")
        password = f"password-{self.rng.getrandbits(64):016x}"
        parts = [answer["nonce"], name, password, "admin"]
        mac = hmac.new(self.secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
        body = {"nonce": answer["nonce"], "username": name, "password": password, "admin": True, "mac": mac}
        return self.call("POST", "/_synapse/admin/v1/register", body, {})["access_token"]

    def environment(self):
        return {"PEERS_TOKEN": self.token}

    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def auth(self, proxy_url):
        return 'token = { env = "PEERS_TOKEN" }'

    def call(self, method, path, body, headers=None, content_type="application/json"):
        headers = self.headers() if headers is None else headers
        status, answer = direct(self.address, method, path, headers, body, content_type)
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def put_user(self, user, name):
        return self.call("PUT", f"/_synapse/admin/v2/users/{quote(user, safe='')}", {"displayname": name})

    def new_token(self, token, uses):
        self.call("POST", "/_synapse/admin/v1/registration_tokens/new", {"token": token, "uses_allowed": uses})

    def upload(self, owner, name, content):
        path = f"/_matrix/media/v3/upload?filename={quote(name, safe='')}"
        uri = self.call("POST", path, content, {"Authorization": f"Bearer {self.tokens[owner]}"}, "text/plain")
        return uri["content_uri"].rpartition("/")[2]

    def login(self, user):
        return self.call("POST", f"/_synapse/admin/v1/users/{quote(user, safe='')}/login", {})["access_token"]

    def prepare(self, number):
        """What is there before: one known thing of each kind, and owners of uploads with some of them."""
        known = "canary-of-the-house"
        self.canary = f"@{known}:{SERVER}"
        room = {"room_alias_name": known, "name": "Kim", "topic": "canary"}
        self.call("POST", "/_matrix/client/v3/createRoom", room)
        self.new_token(known, 7)
        self.owners = [f"@owner{n}:{SERVER}" for n in range(max(2, number // 40))]
        for owner in self.owners:
            self.put_user(owner, "Owner")
        self.tokens = {owner: self.login(owner) for owner in self.owners} | {self.canary: self.token}
        self.member = self.upload(self.canary, "Kim", b"canary")
        for owner in self.owners:
            for n in range(self.rng.choice((0, 3, 11))):
                self.upload(owner, f"older {n}", f"{owner} {n}".encode())

    def operations(self, number):
        """Yields what a partner does; what must be there for it is made just before."""
        self.prepare(number)
        self.names, self.last = [], "canary-of-the-house"
        for n in range(number):
            kind = self.rng.choice(KINDS)
            op = Operation(f"matrix-{n}", "create", "POST", "", mark=f"mark-{n}")
            if kind == "put-user":
                self.user(op, n)
            elif kind == "room":
                self.room(op, n)
            elif kind == "upload":
                self.upload_operation(op, n)
            elif kind == "deactivate":
                op.kind, op.key = "delete", f"@gone{n}:{SERVER}"
                self.put_user(op.key, "Gone")
                op.path, op.body = f"/_synapse/admin/v1/deactivate/{quote(op.key, safe='')}", {"erase": False}
            else:
                self.token_operation(op, kind, n)
            op.record_body = op.body if op.record_body is None else op.record_body
            yield op

    def user(self, op, n):
        name = ("a/b+c=d{n}", "dot.under_score-{n}", "plain{n}", "x=0{n}")[n % 4].replace("{n}", str(n))
        op.kind, op.method, op.key, op.mark = "upsert", "PUT", f"@{name}:{SERVER}", awkward(n)
        op.path, op.body = f"/_synapse/admin/v2/users/{quote(op.key, safe='')}", {"displayname": op.mark}
        if n % 3 == 0:
            self.put_user(op.key, "Before")

    def room(self, op, n):
        alias = "".join(awkward(n).split()).replace("#", "").replace(":", "")
        op.path, op.key = "/_matrix/client/v3/createRoom", f"#{alias}:{SERVER}"
        op.body = {"room_alias_name": alias, "name": awkward(n), "topic": op.mark}

    def upload_operation(self, op, n):
        """A file of an owner; some share a name. The content is the mark."""
        op.kind, op.key, name = "list", self.rng.choice(self.owners), awkward(n)
        if self.names and self.rng.random() < 0.1:
            name = self.rng.choice(self.names)
        self.names.append(name)
        op.path = f"/_matrix/media/v3/upload?filename={quote(name, safe='')}"
        op.body, op.content_type = op.mark.encode(), "text/plain"
        op.headers = {"Authorization": f"Bearer {self.tokens[op.key]}"}
        op.record_body = {"user": op.key, "filename": name}  # what was sent is no JSON: the fields that the plan reads

    def token_operation(self, op, kind, n):
        """Registration tokens: `uses_allowed` is the mark."""
        path, op.mark, token = "/_synapse/admin/v1/registration_tokens", 1000 + n, f"to.k_e~n-{n}"
        if kind in ("update", "remove", "there"):
            self.new_token(token, 1)
        if kind in ("update", "remove"):
            op.kind, op.method = ("update", "PUT") if kind == "update" else ("delete", "DELETE")
            op.key, op.path = token, f"{path}/{token}"
            op.body = {"uses_allowed": op.mark} if kind == "update" else None
            return
        op.path, op.key = f"{path}/new", self.last if kind == "same" else token
        op.body = {"uses_allowed": op.mark, "token": op.key}
        self.last = op.key

    def likeness(self, op):
        return op.key, op.record_body["filename"]

    def controls(self):
        return f"""
[[control]]
lookup = "user"
key = "{self.canary}"
[[control]]
lookup = "active-user"
key = "{self.canary}"
[[control]]
lookup = "room-by-alias"
key = "canary-of-the-house"
fields = {{ name = "Kim" }}
[[control]]
lookup = "token"
key = "canary-of-the-house"
fields = {{ uses_allowed = 7 }}
[[control]]
lookup = "uploads-of-user"
key = "{self.canary}"
member = "{self.member}"
fields = {{ filename = "Kim" }}
"""

    def truth(self):
        db = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        truth = MatrixTruth(db)
        db.close()
        return truth


class MatrixTruth(Truth):
    def __init__(self, db):
        read = lambda columns, table: dict(db.execute(f"SELECT {columns} FROM {table}"))
        self.deactivated = read("name, deactivated", "users")
        self.names = read("full_user_id, displayname", "profiles")
        self.tokens = read("token, uses_allowed", "registration_tokens")
        self.aliases = read("room_alias, room_id", "room_aliases")
        topics = db.execute(
            "SELECT room_id, json FROM event_json JOIN events USING (event_id, room_id) WHERE type = 'm.room.topic'"
        )
        self.topics = {room: json.loads(text)["content"]["topic"] for room, text in topics}
        self.media = db.execute("SELECT media_id, user_id, upload_name, sha256 FROM local_media_repository").fetchall()

    def made(self, op):
        if op.kind == "upsert":
            return [op.key] if op.key in self.deactivated and self.names.get(op.key) == op.mark else []
        if op.kind == "list":
            content = hashlib.sha256(op.body).hexdigest()
            return [name for name, _, _, digest in self.media if digest == content]
        if op.kind == "create" and "token" in op.body:
            return [op.key] if self.tokens.get(op.key) == op.mark else []
        room = self.aliases.get(op.key)
        return [room] if self.topics.get(room) == op.mark else []

    def bearing(self, op):
        if op.kind == "list":
            wanted = (op.key, op.record_body["filename"])
            return [name for name, user, title, _ in self.media if (user, title) == wanted]
        if op.key in self.aliases:
            return [self.aliases[op.key]]
        return [op.key] if op.key in self.tokens or op.key in self.deactivated else []

    def holds(self, op):
        if op.kind == "delete":
            return op.key not in self.tokens if op.method == "DELETE" else bool(self.deactivated[op.key])
        if op.kind == "update":
            return self.tokens[op.key] == op.mark
        return bool(self.made(op))
