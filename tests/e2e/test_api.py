# SPDX-License-Identifier: Apache-2.0
"""The frame of the API: keys and roles, paths and methods, TLS, what it is that openapi.yaml says; and what is bounded."""
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time

import jsonschema
import yaml

from api import DOCUMENT, OPENAPI, Api, Keys, operations, resolved
from harness import PORTS, Launch, equal, test, wait_until
from pki import pki

SECONDS = 19
ROUTES = os.path.join(os.path.dirname(OPENAPI), 'tbl', 'route.h')


# ---- The document

def routes():
    """{(method, path): (role, parameters)} of the program."""
    with open(ROUTES, encoding='utf-8') as f:
        rows = re.findall(r'^ROUTE\((\w+),\s*"([^"]*)",\s*(\w+),\s*\w+,\s*"([^"]*)"\)', f.read(), re.MULTILINE)
    return {(method, path): (role.lower().replace('_', '-'), set(query.split())) for method, path, role, query in rows}


@test(only='dunlin')
def the_document_is_what_there_is(_b):
    described = {}
    for method, path, operation in operations():
        query = {resolved(p)['name'] for p in operation.get('parameters', []) if resolved(p)['in'] == 'query'}
        described[method, re.sub(r'\{\w+\}', '{}', path)] = (operation['x-role'], query)
    equal(described, routes())


def parts_of(value):
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from parts_of(part)


@test(only='dunlin')
def the_document_is_sound(_b):
    """Its references lead somewhere, its schemas are such, its operations have what OpenAPI 3.1 demands."""
    equal(DOCUMENT['openapi'].startswith('3.1.'), True)
    for part in parts_of(DOCUMENT):
        if isinstance(part, dict) and '$ref' in part:
            equal(isinstance(resolved(part), dict), True, part)
    for schema in DOCUMENT['components']['schemas'].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for method, path, operation in operations():
        item = DOCUMENT['paths'][path]
        names = {resolved(p)['name'] for p in [*item.get('parameters', []), *operation.get('parameters', [])]
                 if resolved(p)['in'] == 'path'}
        equal(names, set(re.findall(r'\{(\w+)\}', path)), f'{method} {path}')
        equal('default' in operation['responses'] and 'summary' in operation, True, f'{method} {path}')
        for response in operation['responses'].values():
            equal('description' in resolved(response), True, f'{method} {path}')


@test(only='dunlin')
def it_is_served(b):
    api = Api(b)
    equal(yaml.safe_load(api.get('/openapi.yaml')), DOCUMENT)


# ---- Who may

@test(only='dunlin')
def nothing_without_a_key(b):
    api = Api(b)
    for method, path, _operation in operations():
        path = re.sub(r'\{\w+\}', 'x', path)
        api.refused(401, path, method, key=None)
        if method == 'DELETE':  # not all of them: guesses are limited
            api.refused(401, path, method, key='dunlin_' + '0' * 64)
    status, headers, _ = api.raw('GET', '/api/v1/node')
    equal((status, headers['WWW-Authenticate']), (401, 'Bearer realm="dunlin"'))
    equal(api.raw('GET', '/api/v1/node', headers={'Authorization': 'Basic ' + api.keys.admin})[0], 401)


@test(only='dunlin')
def who_may_look_may_not_change(b):
    api = Api(b)
    for method, path, operation in operations():
        if operation['x-role'] == 'admin':
            detail = api.refused(403, re.sub(r'\{\w+\}', 'x', path), method, key='looker')
            equal('looker' in detail and 'admin' in detail, True, detail)
    equal(api.ask('/node', key='looker')[0], 200)


@test(only='dunlin')
def keys_come_and_go_while_it_runs(b):
    api = Api(b)
    late = api.keys.add('late', 'read-only')
    api.broker.signal(signal.SIGHUP)
    wait_until(lambda: api.ask('/node', key=late)[0] == 200)
    api.keys.remove('late')
    with open(api.keys.path, encoding='utf-8') as f:
        equal('late' in f.read(), False)
    wait_until(lambda: api.ask('/node', key=late)[0] == 401, timeout=30)  # noticed by itself
    renewed = api.keys.add('looker', 'read-only')
    api.broker.signal(signal.SIGHUP)
    wait_until(lambda: api.ask('/node', key=renewed)[0] == 200)
    equal(api.ask('/node', key='looker')[0], 401)
    with open(api.keys.path, 'a', encoding='utf-8') as f:
        f.write('nobody knows what\n')
    api.broker.signal(signal.SIGHUP)
    wait_until(lambda: api.broker.events('admin_keys_refused'))
    equal(api.ask('/node', key=renewed)[0], 200)


@test(only='dunlin')
def the_file_of_keys_has_no_keys(_b):
    keys = Keys()
    with open(keys.path, encoding='utf-8') as f:
        text = f.read()
    equal((keys.admin in text, keys.admin.removeprefix('dunlin_') in text), (False, False))
    equal(stat.S_IMODE(os.stat(keys.path).st_mode), 0o600)
    equal(keys.run('list', keys.path), 'boss admin\nlooker read-only\n')
    equal(re.fullmatch('dunlin_[0-9a-f]{64}', keys.admin) is not None, True)


@test(only='dunlin', each=[
    ('no verb', [], 2, 'what is to be done'), ('no role', ['add', 'FILE', 'x'], 2, '--role'),
    ('a role that is none', ['add', '--role', 'root', 'FILE', 'x'], 2, '--role'),
    ('a name that is none', ['add', '--role', 'admin', 'FILE', 'a b'], 2, 'a name has'),
    ('a flag too many', ['remove', '--create', 'FILE', 'x'], 2, 'flags are for add'),
    ('no such key', ['remove', 'FILE', 'x'], 1, "no key 'x'"),
    ('it is there', ['add', '--create', '--role', 'admin', 'FILE', 'x'], 1, 'leave out --create'),
    ('it is not there', ['add', '--role', 'admin', '/nowhere/keys', 'x'], 1, 'keys'),
    ('help', ['--help'], 0, 'Usage')])
def admin_key(_b, _name, arguments, status, said):
    keys = Keys()
    done = subprocess.run([Launch.program, 'admin-key', *[keys.path if a == 'FILE' else a for a in arguments]],
                          capture_output=True, text=True, check=False)
    equal((done.returncode, said in done.stdout + done.stderr), (status, True), done.stderr)


@test(only='dunlin')
def guesses_are_limited(b):
    """Of an address; but who was let in from there still is."""
    api = Api(b)
    equal(api.ask('/node', key='looker')[0], 200)
    wrong = [api.ask('/node', key=f'dunlin_{i:064x}')[0] for i in range(40)]
    equal(wrong[:20], [401] * 20)
    equal(429 in wrong[20:], True, wrong)
    equal(api.ask('/node', key='looker')[0], 200)
    equal(api.ask('/node', key='admin')[0], 429)  # not looked at: it may be a guess
    metrics = api.raw('GET', '/metrics')[2]
    equal(f'dunlin_api_denied_total {len(wrong) + 1}\n' in metrics, True, metrics[-2000:])
    equal('dunlin_api_requests_total 2\n' in metrics, True)
    other = api.raw('GET', '/api/v1/node', headers={'Authorization': f'Bearer {api.keys.admin}'}, source='127.0.0.2')
    equal(other[0], 200)


@test(only='dunlin')
def without_a_file_it_is_closed(b):
    port = PORTS.take()
    b.another({'admin.listen': f'127.0.0.1:{port}'})
    c = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    c.request('GET', '/api/v1/node', headers={'Authorization': 'Bearer x'})
    answer = c.getresponse()
    equal((answer.status, b'admin.keys_file' in answer.read()), (403, True))
    c.close()


@test(only='dunlin')
def beyond_loopback_it_needs_keys(b):
    from test_process import dunlin
    status, said = dunlin('--admin', '*:0', '--listen', 'tcp://127.0.0.1:0')
    equal((status, 'admin.keys_file' in said), (1, True), said)
    api = Api(b, host='*')
    wait_until(lambda: api.broker.events('admin_without_tls'))
    equal(api.ask('/node')[0], 200)
    equal(api.raw('GET', '/livez')[0], 200)  # probes, and Prometheus, have no key
    equal(api.raw('GET', '/metrics')[0], 200)


# ---- TLS

@test(only='dunlin')
def by_https(b):
    api = Api(b, {'admin.certificate': pki().chain('server'), 'admin.key': pki().key('server')}, tls=pki().certificate('root'))
    equal(api.ask('/node')[0], 200)
    equal(api.raw('GET', '/livez')[0], 200)
    plain = http.client.HTTPConnection('127.0.0.1', api.port, timeout=5)
    try:
        plain.request('GET', '/livez')
        equal(plain.getresponse().status, 'no answer without TLS')
    except (http.client.HTTPException, OSError):
        pass
    finally:
        plain.close()


def serial_at(port):
    """Of the certificate that is shown there; None: who is at it when another one comes is cut off."""
    context = ssl.create_default_context(cafile=pki().certificate('root'))
    context.check_hostname = False
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=10) as s, context.wrap_socket(s) as tls:
            return tls.getpeercert()['serialNumber']
    except (ConnectionError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
        return None


def replace(path, source):
    shutil.copy(source, f'{path}.new')
    os.replace(f'{path}.new', path)


@test(only='dunlin')
def another_certificate_while_it_runs(b):
    """It is shown to who connects next; one that is not good leaves the former in force."""
    chain, key = (os.path.abspath(os.path.join(Launch.folder, f'api-{os.getpid()}.{kind}')) for kind in ('pem', 'key'))
    replace(chain, pki().chain('server'))
    replace(key, pki().key('server'))
    api = Api(b, {'admin.certificate': chain, 'admin.key': key}, tls=pki().certificate('root'))
    equal(serial_at(api.port), pki().serial('server'))
    replace(chain, pki().chain('other'))  # and not its key
    api.broker.signal(signal.SIGHUP)
    wait_until(lambda: api.broker.events('admin_certificate_refused'))
    equal(serial_at(api.port), pki().serial('server'))
    equal(api.ask('/node')[0], 200)
    replace(key, pki().key('other'))
    api.broker.signal(signal.SIGHUP)
    wait_until(lambda: serial_at(api.port) == pki().serial('other'))
    replace(chain, pki().chain('server'))
    replace(key, pki().key('server'))
    wait_until(lambda: serial_at(api.port) == pki().serial('server'), timeout=40)  # noticed by itself
    equal(api.ask('/node')[0], 200)
    api.broker.connected('served').ping()


# ---- Requests that mean nothing

@test(only='dunlin')
def paths_and_methods(b):
    api = Api(b)
    for path in ('/nothing', '/clients/a/b', '/node/', '//node'):
        api.refused(404, path)
    equal(api.raw('GET', '/api/v2/node', headers={'Authorization': f'Bearer {api.keys.admin}'})[0], 404)
    status, headers, _ = api.raw('POST', '/api/v1/log/level', headers={'Authorization': f'Bearer {api.keys.admin}'})
    equal((status, headers['Allow']), (405, 'GET, PUT'))
    status, headers, text = api.raw('HEAD', '/api/v1/node', headers={'Authorization': f'Bearer {api.keys.admin}'})
    equal((status, text), (200, ''))


@test(only='dunlin', each=[
    ('unknown', '/clients?what=x'), ('twice', '/clients?limit=1&limit=2'), ('no value', '/clients?limit'),
    ('not a number', '/clients?limit=ten'), ('zero', '/clients?limit=0'), ('too many', '/clients?limit=1001'),
    ('no cursor', '/clients?cursor=xyz'), ('no address', '/clients?address=here'), ('no listener', '/clients?listener=-1'),
    ('half a byte', '/clients?user=%2'), ('half a byte of a path', '/clients/a%zz'), ('maybe', '/sessions?connected=maybe')])
def queries_that_mean_nothing(b, _name, path):
    Api(b).refused(400, path)


@test(only='dunlin', each=[
    ('nothing', '', 400), ('no JSON', '{', 400), ('no object', '[]', 400), ('another member', '{"levels": "info"}', 400),
    ('no such level', '{"level": "loud"}', 400), ('another type', '{"level": 3}', 400),
    ('twice', '{"level": "info", "level": "info"}', 400), ('too large', '{"level": "' + 'x' * (1 << 20) + '"}', 413)])
def bodies_that_mean_nothing(b, _name, body, status):
    Api(b).refused(status, '/log/level', 'PUT', body)


@test(only='dunlin')
def a_body_is_not_read_from_a_stranger(b):
    api = Api(b)
    s = socket.create_connection(('127.0.0.1', api.port), timeout=10)
    s.sendall(b'PUT /api/v1/log/level HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n')
    equal(s.recv(64).startswith(b'HTTP/1.1 401 '), True)
    s.close()


# ---- Bounds

@test(only='dunlin')
def requests_at_a_time_are_bounded(b):
    """Those that have sent half of their body count; probes go on, and so does the API afterwards."""
    api = Api(b)
    head = (f'PUT /api/v1/log/level HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {api.keys.admin}\r\n'
            'Content-Length: 17\r\n\r\n{"level":').encode()
    half = [socket.create_connection(('127.0.0.1', api.port), timeout=10) for _ in range(8)]
    for s in half:
        s.sendall(head)
    wait_until(lambda: api.ask('/node')[0] == 503)
    equal(api.raw('GET', '/livez')[0], 200)
    equal(api.raw('GET', '/metrics')[0], 200)
    for s in half:
        s.sendall(b'"debug"}')
        equal(s.recv(64).startswith(b'HTTP/1.1 200 '), True)
        s.close()
    equal(api.get('/log/level'), {'level': 'debug'})


@test(only='dunlin')
def it_ends_while_it_is_asked(b):
    api = Api(b)
    c = api.connection()
    c.request('GET', '/api/v1/node', headers={'Authorization': f'Bearer {api.keys.admin}'})
    equal(c.getresponse().status, 200)
    begin = time.monotonic()
    api.broker.signal(signal.SIGTERM)
    api.broker.wait_end()
    equal(time.monotonic() - begin < 8, True)
    c.close()
