# SPDX-License-Identifier: Apache-2.0
"""The API (docs/api.md) for the tests: keys, requests, and every answer compared with openapi.yaml."""
import http.client
import json
import os
import ssl
import subprocess
import urllib.parse

import jsonschema
import yaml

from harness import PORTS, Launch, equal, wait_until

OPENAPI = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'broker', 'admin', 'api', 'openapi.yaml')
with open(OPENAPI, encoding='utf-8') as f:
    DOCUMENT = yaml.safe_load(f)
LINES = 'application/x-ndjson'
METHODS = ('get', 'put', 'post', 'delete')


def operations():
    """(method, path as the document has it, operation)"""
    for path, item in DOCUMENT['paths'].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def operation_of(method, path):
    """Of a path as it is asked for, or None."""
    parts = path.split('?')[0].removeprefix('/api/v1').split('/')
    for has_method, template, operation in operations():
        wanted = template.split('/')
        if has_method == method and len(wanted) == len(parts) and all(
                w.startswith('{') or w == p for w, p in zip(wanted, parts)):
            return operation
    return None


def resolved(part):
    while '$ref' in part:
        at = DOCUMENT
        for step in part['$ref'].removeprefix('#/').split('/'):
            at = at[step]
        part = at
    return part


def schema_check(schema, value):
    whole = {**schema, 'components': DOCUMENT['components']}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(value)


def compare(method, path, status, kind, text):
    """Is it an answer that the document has for that?"""
    operation = operation_of(method, path)
    responses = operation['responses'] if operation else {}
    problem = DOCUMENT['components']['responses']['Problem']
    response = resolved(responses.get(str(status), responses.get('default', problem)))
    equal(status < 400 and str(status) not in responses, False, f'{method} {path}: {status} is not described')
    if 'content' not in response:
        equal(text, '', f'{method} {path}')
        return
    equal(kind in response['content'], True, f'{method} {path}: {kind}, {text}')
    if kind == LINES:
        for line in text.splitlines():
            schema_check(response['content'][kind]['schema'], json.loads(line))
    elif kind.endswith('json'):
        schema_check(response['content'][kind]['schema'], json.loads(text))


def quoted(part):
    return urllib.parse.quote(part, safe='')


class Keys:
    """A file of keys, and `dunlin admin-key`."""
    made = 0

    def __init__(self):
        Keys.made += 1
        self.path = os.path.abspath(os.path.join(Launch.folder, f'keys-{os.getpid()}-{Keys.made}'))
        self.admin = self.add('boss', 'admin', '--create')
        self.looker = self.add('looker', 'read-only')

    def run(self, verb, *arguments, status=0):
        done = subprocess.run([Launch.program, 'admin-key', verb, *arguments], capture_output=True, text=True,
                              check=False)
        equal(done.returncode, status, f'{verb} {arguments}: {done.stderr}')
        return done.stdout if status == 0 else done.stderr

    def add(self, name, role, *flags):
        return self.run('add', *flags, '--role', role, self.path, name).strip()

    def remove(self, name):
        self.run('remove', self.path, name)


class Api:
    """A broker with the API, and one who asks it."""

    def __init__(self, b, settings=None, listeners=None, keys=None, host='127.0.0.1', tls=None, environment=None):
        self.port, self.host, self.tls = PORTS.take(), host, tls
        self.keys = keys or Keys()
        self.broker = b.another({'admin.listen': f'{host}:{self.port}', 'admin.keys_file': self.keys.path,
                                 **(settings or {})}, environment=environment, listeners=listeners)
        wait_until(lambda: self.raw('GET', '/readyz')[0] == 200, what='it is ready')

    def connection(self, source='127.0.0.1'):
        if self.tls is None:
            return http.client.HTTPConnection('127.0.0.1', self.port, timeout=20, source_address=(source, 0))
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=20,
                                           context=ssl.create_default_context(cafile=self.tls))

    def raw(self, method, path, body=None, headers=None, source='127.0.0.1'):
        """(status, headers, text; or bytes, of a capture)"""
        c = self.connection(source)
        try:
            c.request(method, path, body, headers or {})
            answer = c.getresponse()
            said = answer.read()
            is_text = answer.headers.get('Content-Type') != 'application/x-pcapng'
            return answer.status, answer.headers, said.decode() if is_text else said
        finally:
            c.close()

    def ask(self, path, method='GET', body=None, key='admin', **query):
        """(status, what came as JSON or text); key: 'admin', 'looker', None, or a key."""
        if query:
            path += '?' + urllib.parse.urlencode(query)
        text = getattr(self.keys, key, key) if key else None
        headers = {'Authorization': f'Bearer {text}'} if text else {}
        sent = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        status, got, text = self.raw(method, '/api/v1' + path, sent, headers)
        kind = got.get('Content-Type')
        compare(method, '/api/v1' + path, status, kind, text)
        if kind == LINES:
            return status, [json.loads(line) for line in text.splitlines()]
        return status, json.loads(text) if text and kind.endswith('json') else text

    def get(self, path, **query):
        status, value = self.ask(path, **query)
        equal(status, 200, f'{path}: {value}')
        return value

    def do(self, method, path, body=None, want=204, **query):
        status, value = self.ask(path, method, body, **query)
        equal(status, want, f'{method} {path}: {value}')
        return value

    def refused(self, want, path, method='GET', body=None, **more):
        status, value = self.ask(path, method, body, **more)
        equal(status, want, f'{method} {path}: {value}')
        return value['detail']

    def pages(self, path, limit, **query):
        """Each page's items."""
        pages, more = [], {}
        while True:
            page = self.get(path, limit=limit, **query, **more)
            pages.append(page['items'])
            if 'cursor' not in page:
                return pages
            more = {'cursor': page['cursor']}

    def all(self, path, limit=1000, **query):
        return [item for page in self.pages(path, limit, **query) for item in page]
