# SPDX-License-Identifier: Apache-2.0
"""A broker that is asked by HTTP, and what it answers."""
import http.client

from prometheus_client import parser as plain

from harness import PORTS, equal


class Admin:
    def __init__(self, b, settings=None, listeners=None, prepare=None):
        self.port = PORTS.take()
        self.broker = b.another({'admin.listen': f'127.0.0.1:{self.port}', **(settings or {})},
                                listeners=listeners, prepare=prepare)

    def ask(self, path, method='GET', **headers):
        """(status, content type, text)"""
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=10)
        try:
            c.request(method, path, headers={k.replace('_', '-'): v for k, v in headers.items()})
            answer = c.getresponse()
            return answer.status, answer.getheader('Content-Type'), answer.read().decode()
        finally:
            c.close()

    def families(self):
        status, kind, text = self.ask('/metrics')
        equal((status, kind), (200, 'text/plain; version=0.0.4; charset=utf-8'))
        return {f.name: f for f in plain.text_string_to_metric_families(text)}

    def value(self, name, **labels):
        family = self.families()[name.removesuffix('_total')]
        return next(s.value for s in family.samples if s.name == name and s.labels == labels)
