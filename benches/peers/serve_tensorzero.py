"""Starts the gateway that is inside TensorZero's Python package, and says where it listens.

serve_tensorzero.py CONFIG FILE: the port is written to FILE. It serves until it is ended.
"""

import signal
import sys
import urllib.parse

from tensorzero import tensorzero

gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1],
    clickhouse_url=None,
    postgres_url=None,
    valkey_url=None,
    async_setup=False,
)
with open(sys.argv[2], "w") as file:
    file.write(str(urllib.parse.urlsplit(gateway.base_url).port))
signal.pause()
