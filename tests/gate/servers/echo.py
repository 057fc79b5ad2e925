"""Answers every request alike, and writes each down as it was understood: PORT LOG ANSWER."""

import http.server
import json
import sys

port, log, answer = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = self.headers.get("content-length", "")
        seen = {
            "method": self.command,
            "target": self.path,
            "length": length,
            "coding": self.headers.get("transfer-encoding", ""),
            "body": self.rfile.read(int(length or 0)).decode(),
        }
        with open(log, "a") as file:
            file.write(json.dumps(seen) + "\n")
        body = answer.encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
