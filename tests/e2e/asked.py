# SPDX-License-Identifier: Apache-2.0
"""A server that is asked about clients (docs/http-callback.md), or for keys (token.keys_url), by
Python's own http.server: a thread for each connection, on a free port of 127.0.0.1."""
import http.server
import json
import ssl
import threading


class Asked:
    """`answer` is what it says: a dict, which goes as JSON; bytes; or a function of the question that
    gives either, or (status, headers, bytes). All questions are in `questions` (None: GET), and the
    connections that they came by in `connections`."""

    def __init__(self, answer, certificate=None, key=None, port=0):
        self.answer, self.questions, self.headers, self.connections = answer, [], [], set()
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', port), self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # who asked has not waited
        self.scheme = 'http'
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = 'https'
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, host='127.0.0.1'):
        return f'{self.scheme}://{host}:{self.port}/mqtt'

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _handler(asked):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                self._say(json.loads(self.rfile.read(int(self.headers['Content-Length']))))

            def do_GET(self):
                self._say(None)

            def _say(self, question):
                asked.connections.add(self.client_address)
                asked.headers.append(dict(self.headers))
                asked.questions.append(question)
                said = asked.answer(question) if callable(asked.answer) else asked.answer
                status, headers = 200, {'Content-Type': 'application/json'}
                if isinstance(said, tuple):
                    status, headers, said = said
                if isinstance(said, dict):
                    said = json.dumps(said).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass
        return Handler
