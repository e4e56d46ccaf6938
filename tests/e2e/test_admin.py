# SPDX-License-Identifier: Apache-2.0
"""What the operator's machines ask by HTTP: /metrics, /livez, /readyz (docs/metrics.md). Prometheus'
own client library reads what we write."""
import os
import re
import signal
import socket
import time

from prometheus_client.openmetrics import parser as openmetrics

from admin import Admin
from harness import equal, test, wait_until
from raw import V5, wire

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'metrics.md')
SECONDS = 4


@test(only='dunlin')
def figures_are_those_of_the_broker(b):
    admin = Admin(b)
    subscriber = admin.broker.connected('admin-sub')
    subscriber.subscribe('admin/#', qos=1)
    publisher = admin.broker.connected('admin-pub')
    for i in range(5):
        publisher.publish('admin/a', b'%d' % i, qos=1)
        subscriber.expect_message('admin/a', b'%d' % i)
    publisher.publish('nobody/wants', b'it', qos=1)
    equal(admin.value('dunlin_clients'), 2.0)
    equal(admin.value('dunlin_publish_received_total'), 6.0)
    equal(admin.value('dunlin_publish_unmatched_total'), 1.0)
    equal(admin.value('dunlin_filters'), 1.0)
    publisher.disconnect()
    wait_until(lambda: admin.value('dunlin_clients') == 1.0)


@test(only='dunlin')
def drops_have_their_reason(b):
    admin = Admin(b)
    away = admin.broker.client(V5)
    away.connect('admin-away', props={'session_expiry_interval': 100})
    away.subscribe('drop/#', qos=1)
    away.disconnect()
    admin.broker.connected('admin-pub').publish('drop/a', b'x', qos=0)
    wait_until(lambda: admin.value('dunlin_messages_dropped_total', reason='qos0_offline') == 1.0)
    equal(admin.value('dunlin_messages_dropped_total', reason='expired'), 0.0)


@test(only='dunlin')
def openmetrics_when_asked(b):
    admin = Admin(b)
    status, kind, text = admin.ask('/metrics', Accept='application/openmetrics-text;version=1.0.0,'
                                                      'text/plain;version=0.0.4;q=0.5')
    equal((status, kind), (200, 'application/openmetrics-text; version=1.0.0; charset=utf-8'))
    equal(text.endswith('\n# EOF\n'), True, text[-20:])
    names = {f.name for f in openmetrics.text_string_to_metric_families(text)}
    equal(names, set(admin.families()))


def documented():
    with open(DOCS, encoding='utf-8') as f:
        rows = re.findall(r'^\| `(\w+)` \| (\w+) \| (.*) \|$', f.read(), re.MULTILINE)
    return {name: (kind, what) for name, kind, what in rows}


@test(only='dunlin')
def the_table_of_the_documents_is_what_there_is(b):
    admin = Admin(b, listeners={'tls': {'url': 'tls://{}', **pki_server()}})
    text = admin.ask('/metrics')[2]
    helps = dict(re.findall(r'^# HELP (\S+) (.*)\.$', text, re.MULTILINE))
    kinds = dict(re.findall(r'^# TYPE (\S+) (\S+)$', text, re.MULTILINE))
    there = {name: (kinds[name], what) for name, what in helps.items()}
    expected = documented()
    if admin.broker.sanitized():  # it has an allocator of its own
        expected = {name: row for name, row in expected.items() if 'allocator' not in name}
    rows = ['| `{}` | {} | {} |'.format(name, *there.get(name, ('gone', '')))
            for name in sorted({*there, *expected}) if there.get(name) != expected.get(name)]
    equal(rows, [], 'in docs/metrics.md:\n' + '\n'.join(rows) + '\n')


def pki_server():
    from pki import pki
    return {'certificate': pki().chain('server'), 'key': pki().key('server')}


@test(only='dunlin')
def names_follow_the_conventions(b):
    """What `promtool check metrics` looks at."""
    for family in Admin(b).families().values():
        equal(re.fullmatch('[a-z][a-z0-9_]*', family.name) is not None, True, family.name)
        equal(family.documentation != '', True, family.name)
        for sample in family.samples:
            equal(sample.name.endswith('_total'), family.type == 'counter', sample.name)
            equal(sample.value >= 0 or 'certificate' in sample.name, True, sample)


@test(only='dunlin')
def a_certificate_says_how_long(b):
    admin = Admin(b, listeners={'tls': {'url': 'tls://{}', **pki_server()}})
    equal(admin.value('dunlin_certificate_seconds_left') > 0, True)


# ---- Probes

@test(only='dunlin')
def it_lives_and_is_ready(b):
    admin = Admin(b)
    equal(admin.ask('/livez')[::2], (200, 'every shard turns\n'))
    equal(admin.ask('/readyz')[::2], (200, 'ready\n'))


@test(only='dunlin')
def it_is_not_ready_while_it_ends(b):
    admin = Admin(b)
    c = admin.broker.connected('admin-lingers')  # does not close its side: it is waited for, a second
    admin.broker.signal(signal.SIGTERM)
    c.expect_disconnect(0x8B)
    drains = (503, 'draining: nobody is let in, and clients are sent away\n')  # its last moment
    said = wait_until(lambda: (answer := admin.ask('/readyz')[::2]) != drains and answer)
    equal(said, (503, 'the broker is ending\n'))
    admin.broker.wait_end()


# ---- Strangers

@test(only='dunlin', each=[('nothing there', 'GET', '/api', 404), ('another method', 'POST', '/metrics', 405),
                           ('no body', 'HEAD', '/metrics', 200), ('the list', 'GET', '/', 200)])
def requests(b, _name, method, path, status):
    equal(Admin(b).ask(path, method)[0], status)


@test(only='dunlin')
def what_is_no_request_hinders_nobody(b):
    """Silence, noise, and many: those who ask are answered, and clients are served."""
    admin = Admin(b)
    there = ('127.0.0.1', admin.port)
    noise = socket.create_connection(there, timeout=10)
    noise.sendall(wire.connect(V5, 'lost its way') + b'\r\n\r\n')
    equal(noise.recv(1024)[:8] in (b'', b'HTTP/1.1', b'HTTP/1.0'), True)
    noise.close()
    long = socket.create_connection(there, timeout=10)
    try:
        long.sendall(b'GET /metrics HTTP/1.1\r\nHost: a\r\n' + b'X: ' + b'y' * 400000 + b'\r\n\r\n')
        equal(b' 200 ' in long.recv(1024), False)
    except ConnectionError:  # it did not even read all of it
        pass
    long.close()
    silent = [socket.create_connection(there, timeout=10) for _ in range(40)]
    begin = time.monotonic()
    equal(admin.ask('/livez')[0], 200)
    equal(time.monotonic() - begin < 5, True)
    for s in silent:
        s.close()
    admin.broker.connected('admin-served').ping()


@test(only='dunlin')
def an_address_in_use_is_told(b):
    admin = Admin(b)
    from test_process import dunlin
    status, said = dunlin('--admin', f'127.0.0.1:{admin.port}', '--listen', 'tcp://127.0.0.1:0')
    equal((status, 'admin_listen_failed' in said), (1, True), said)
