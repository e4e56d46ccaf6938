# SPDX-License-Identifier: Apache-2.0
"""Figures with labels, and what Prometheus' own programs say of all of them."""
import shutil
import subprocess

from admin import Admin
from harness import equal, test, wait_until
from pki import pki
from kept import Folder, lasting
from raw import CONNACK, V5, V311, Will, wire
from tls import Tls


def tls_listeners():
    return {'plain': {'url': 'tcp://{}'},
            'tls': {'url': 'tls://{}', 'certificate': pki().chain('server'), 'key': pki().key('server')}}


def samples(admin, name):
    """Those of one family, by their labels less the bucket's."""
    family = admin.families()[name]
    return {tuple(sorted(s.labels.items())): s.value for s in family.samples}


def sample(admin, name, suffix, **labels):
    family = admin.families()[name]
    return next(s.value for s in family.samples if s.name == name + suffix and s.labels == labels)


@test(only='dunlin')
def promtool_has_nothing_to_mind(b):
    admin = Admin(b, listeners=tls_listeners())
    text = admin.ask('/metrics')[2]
    checked = subprocess.run([shutil.which('promtool'), 'check', 'metrics'], input=text, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60)
    equal((checked.returncode, checked.stdout), (0, ''))


@test(only='dunlin')
def deliveries_are_measured_by_their_qos(b):
    admin = Admin(b)
    subscriber = admin.broker.connected('figures-sub')
    publisher = admin.broker.connected('figures-pub')
    for qos in range(3):
        subscriber.subscribe(f'figures/{qos}', qos=qos)
        for _ in range(qos + 1):
            publisher.publish(f'figures/{qos}', b'x', qos=2)
            subscriber.expect_message(f'figures/{qos}', b'x')
    for qos in range(3):
        labels = {'from': 'local', 'qos': str(qos)}
        wait_until(lambda labels=labels, n=qos + 1: sample(
            admin, 'dunlin_publish_to_delivery_seconds', '_count', **labels) == n)
        below = [sample(admin, 'dunlin_publish_to_delivery_seconds', '_bucket', le=le, **labels)
                 for le in ('0.000016', '0.262144', '16.777216', '+Inf')]
        equal(below, sorted(below))
        equal(below[-1], qos + 1.0)
        equal(0 < sample(admin, 'dunlin_publish_to_delivery_seconds', '_sum', **labels) < 10, True)
    equal(sample(admin, 'dunlin_turn_seconds', '_count') > 0, True)


@test(only='dunlin')
def a_disk_is_measured(b):
    admin = Admin(b, {'data.dir': Folder(b).path})
    lasting(admin.broker, 'figures-kept').subscribe('figures/kept', qos=1)
    for what in ('commit', 'write'):
        wait_until(lambda what=what: sample(admin, f'dunlin_journal_{what}_seconds', '_count') > 0)


@test(only='dunlin')
def listeners_have_figures_of_their_own(b):
    admin = Admin(b, listeners=tls_listeners())
    host, port = admin.broker.at['tls']
    labels = {'plain': {'listener': '1', 'url': f'tcp://{host}:{admin.broker.at["plain"][1]}'},
              'tls': {'listener': '2', 'url': f'tls://{host}:{port}'}}

    def of(name, listener, suffix='_total'):
        return sample(admin, f'dunlin_listener_{name}', suffix, **labels[listener])

    admin.broker.connected('figures-tls', at='tls', wrap=Tls()).ping()
    equal(of('connections', 'tls', ''), 1.0)
    equal(of('connections_accepted', 'tls'), 1.0)
    equal(of('bytes_received', 'tls') > 100, True)
    equal(of('bytes_sent', 'tls') > 500, True)
    full = {'kind': 'full'}
    equal(sample(admin, 'dunlin_tls_handshake_seconds', '_count', **full), 1.0)
    s = admin.broker.dial('tls')
    s.sendall(b'GET / HTTP/1.1\r\n\r\n')
    s.recv(100)
    wait_until(lambda: of('handshakes_failed', 'tls') == 1.0)
    equal(of('handshakes_failed', 'plain'), 0.0)
    equal(of('connections_accepted', 'tls'), 2.0)


@test(only='dunlin')
def reasons_are_counted(b):
    """Each that the packet may have is there, also at 0; older clients' as MQTT 5 has them."""
    admin = Admin(b, {'limits.topic_levels_max': 2})
    for version in (V5, V311):
        c = admin.broker.client(version)
        c.connect(f'figures-{version}')
        c.disconnect()
        refused = admin.broker.client(version)
        refused.send(wire.connect(version, 'figures-will', will=Will('a/b/c', b'x')))
        refused.expect(CONNACK)
    first = admin.broker.connected('figures-twice')
    admin.broker.connected('figures-twice')
    first.expect_disconnect(0x8E)
    sent = samples(admin, 'dunlin_connack_sent')
    equal(sent[(('reason', 'success'),)], 5.0)  # the harness asks once, too
    equal(sent[(('reason', 'topic_name_invalid'),)], 2.0)
    equal(sent[(('reason', 'banned'),)], 0.0)
    said = samples(admin, 'dunlin_disconnect_sent')
    equal(said[(('reason', 'session_taken_over'),)], 1.0)
    equal((('reason', 'disconnect_with_will_message'),) in said, False)
    equal(samples(admin, 'dunlin_disconnect_received')[(('reason', 'success'),)], 3.0)
