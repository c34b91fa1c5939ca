"""Starts a Matrix homeserver (Synapse) with a fresh SQLite database, on a port chosen by the kernel.

    python matrix_site.py FOLDER

The secret by which users are registered is in the environment. It prints its port and serves until its standard input
ends.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def configuration(folder, port):
    listener = {"port": port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}
    plenty = {"per_second": 100000, "burst_count": 100000}
    return {
        "server_name": "peers.example",
        "pid_file": str(folder / "synapse.pid"),
        "listeners": [listener],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "macaroon_secret_key": os.urandom(16).hex(),
        "form_secret": os.urandom(16).hex(),
        "registration_shared_secret": os.environ["PEERS_SECRET"],
        "report_stats": False,
        "trusted_key_servers": [],
        "bcrypt_rounds": 4,
        "presence": {"enabled": False},
        "url_preview_enabled": False,
        "enable_metrics": False,
        "rc_message": plenty,
        "rc_registration": plenty,
        "rc_login": {"address": plenty, "account": plenty, "failed_attempts": plenty},
        "rc_admin_redaction": plenty,
        "rc_media_create": plenty,
        "rc_room_creation": plenty,
        "suppress_key_server_warning": True,
    }


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def start(folder):
    """A port that another program takes first costs a second try."""
    for _ in range(3):
        port, file = free_port(), folder / "homeserver.yaml"
        file.write_text(json.dumps(configuration(folder, port)))  # JSON is YAML
        command = [sys.executable, "-m", "synapse.app.homeserver", "-c", str(file)]
        subprocess.run([*command, "--generate-keys"], check=True, stdout=subprocess.DEVNULL)
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(240):
            if answers(port):
                return server, port
            if server.poll() is not None:
                break
            time.sleep(0.5)
        server.kill()
        server.wait()
    raise SystemExit("the homeserver does not start")


def main():
    server, port = start(Path(sys.argv[1]))
    print(json.dumps({"port": port}), flush=True)
    try:
        sys.stdin.read()
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
