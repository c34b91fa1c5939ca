"""scim2-server: users and groups by SCIM 2.0 (RFC 7644), and what a partner does there."""

import json

from client import Operation, direct
from names import awkward, email, given
from peer import HERE, Peer, Truth

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
JSON = "application/scim+json"
# What a partner does there, and how often.
KINDS = ("user",) * 8 + ("email", "patch", "put") * 3 + ("delete",) * 2 + ("group",) * 4 + ("there", "same", "folded")


class Scim(Peer):
    name = "scim"
    plan = "scim-users.toml"

    def start(self):
        self.secret = f"token-{self.rng.getrandbits(128):032x}"
        self.spawn([HERE / "scim_site.py"], self.environment())

    def environment(self):
        return {"PEERS_TOKEN": self.secret}

    def headers(self):
        return {"Authorization": f"Bearer {self.secret}"}

    def auth(self, proxy_url):
        return 'token = { env = "PEERS_TOKEN" }'

    def call(self, method, path, body):
        status, answer = direct(self.address, method, path, self.headers(), body, JSON)
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def seed(self, user_name, display_name="Seed"):
        body = {"schemas": [USER], "userName": user_name, "displayName": display_name}
        return self.call("POST", "/v2/Users", body)["id"]

    def operations(self, number):
        """Yields what a partner does; what must be there for it is made just before."""
        self.canary = self.seed("canary-of-the-directory", "Kim")
        group = {"schemas": [GROUP], "displayName": "canary-of-the-groups"}
        self.group = self.call("POST", "/v2/Groups", group)["id"]
        self.last = awkward(0)
        for n in range(number):
            kind = self.rng.choice(KINDS)
            op = Operation(f"scim-{n}", "create", "POST", "/v2/Users", content_type=JSON, mark=f"mark-{n}")
            display = awkward(n) if n % 3 == 0 else given(n)
            op.body = {"schemas": [USER], "displayName": display, "nickName": op.mark}
            if kind == "group":
                self.new_group(op, n)
            elif kind in ("patch", "put", "delete"):
                self.change(op, kind, n)
            else:
                self.create(op, kind, n)
            op.record_body = op.body
            yield op

    def create(self, op, kind, n):
        """A user: a new name, one that somebody has, or that of another operation, in other letters perhaps."""
        names = {"email": email(n), "same": self.last, "folded": self.last.swapcase()}
        op.body["userName"] = names.get(kind, awkward(n))
        if kind == "user":
            self.last = op.body["userName"]
        elif kind == "there":
            self.seed(awkward(n), op.body["displayName"])

    def new_group(self, op, n):
        """Groups need no unique name: some share one."""
        name = self.rng.choice((awkward(n), awkward(self.rng.randrange(n + 1))))
        op.kind, op.path = "list", "/v2/Groups"
        op.body = {"schemas": [GROUP], "displayName": name, "externalId": op.mark}

    def change(self, op, kind, n):
        op.key = self.seed(f"{kind}-{n}")
        op.kind, op.method, op.path = "update", kind.upper(), f"/v2/Users/{op.key}"
        if kind == "patch":
            change = {"op": "replace", "path": "displayName", "value": op.body["displayName"]}
            op.body = {"schemas": [PATCH], "Operations": [change]}
        elif kind == "put":
            op.body["userName"] = f"put-{n}"
        else:
            op.kind, op.body = "delete", None

    def likeness(self, op):
        return op.path, op.body["displayName"].casefold()

    def controls(self):
        return f"""
[[control]]
lookup = "user-by-user-name"
key = "canary-of-the-directory"
fields = {{ display_name = "Kim" }}
[[control]]
lookup = "user-by-id"
key = "{self.canary}"
fields = {{ display_name = "Kim" }}
[[control]]
lookup = "groups-by-name"
key = "canary-of-the-groups"
member = "{self.group}"
fields = {{ display_name = "canary-of-the-groups" }}
"""

    def truth(self):
        path = self.folder / "storage.json"
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()
        return ScimTruth(json.loads(path.read_text(encoding="utf-8")))


class ScimTruth(Truth):
    def __init__(self, resources):
        self.users = [one for one in resources if USER in one["schemas"]]
        self.groups = [one for one in resources if GROUP in one["schemas"]]
        self.by_id = {one["id"]: one for one in self.users}

    def made(self, op):
        if op.kind == "list":
            return [one["id"] for one in self.groups if one.get("externalId") == op.mark]
        return [one["id"] for one in self.users if one.get("nickName") == op.mark]

    def bearing(self, op):
        if op.kind == "create":
            wanted = op.body["userName"].casefold()
            return [one["id"] for one in self.users if one["userName"].casefold() == wanted]
        if op.kind == "list":
            return [one["id"] for one in self.groups if one["displayName"] == op.body["displayName"]]
        return [op.key] if op.key in self.by_id else []

    def holds(self, op):
        if op.kind == "delete":
            return op.key not in self.by_id
        if op.kind == "update":
            wanted = op.body["Operations"][0]["value"] if op.method == "PATCH" else op.body["displayName"]
            return self.by_id[op.key].get("displayName") == wanted
        return bool(self.made(op))
