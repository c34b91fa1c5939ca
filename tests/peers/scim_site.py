"""Starts scim2-server's own test server on a port chosen by the kernel.

    python scim_site.py

The token is in the environment. It prints its port; a line with a path on its standard input makes it write its storage
there, by scim2-server's own dump; it serves until its standard input ends.
"""

import json
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.testserver.cli import ThreadingWSGIServer, dump_resources
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def address_string(self):
        return self.client_address[0]


class Server(ThreadingWSGIServer):
    request_queue_size = 128


def main():
    config = load_default_service_provider_config()
    config.authentication_schemes = [BEARER_TOKEN_SCHEME]
    provider = ScimProvider.from_discovery(
        load_default_schemas().values(), load_default_resource_types().values(), config=config
    )
    storage = InMemoryStorage()
    tokens = [os.environ["PEERS_TOKEN"]]
    application = BearerTokenApplication(storage, provider, service=ScimService(provider), bearer_tokens=tokens)
    server = make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    for line in sys.stdin:
        with storage.lock, open(line.strip(), "w", encoding="utf-8") as file:
            json.dump(dump_resources(storage), file)
        print("written", flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)
