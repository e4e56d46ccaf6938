# SPDX-License-Identifier: Apache-2.0
"""cluster.tls: encrypted connections between nodes; who is not let in, and what is said of it."""
import hashlib
import hmac
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

from cluster import SECONDS, Member, folder, key_file, know_each_other
from harness import Launch, Unexpected, equal, test, wait_until
from pki import DAY, pki

BOTH = 'serverAuth,clientAuth'


class Files:
    """What one node has: its certificate, its key, and whom it trusts; each may be replaced."""

    def __init__(self, name, authority='clients-ca', **how):
        self.folder = folder()
        self.name = os.path.basename(self.folder) + name
        self.path = {what: os.path.join(self.folder, what) for what in ('certificate', 'key', 'ca')}
        self.shows(authority, **how)
        self.trusts('clients-ca')

    def shows(self, authority='clients-ca', **how):
        pki().issue(self.name, authority, **{'usage': BOTH, **how})
        self._put(pki().certificate(self.name), 'certificate')
        self._put(pki().key(self.name), 'key')

    def trusts(self, *authorities):
        new = self.path['ca'] + '.new'
        with open(new, 'w', encoding='ascii') as f:
            for authority in authorities:
                with open(pki().certificate(authority), encoding='ascii') as one:
                    f.write(one.read())
        os.replace(new, self.path['ca'])

    def _put(self, source, what):
        shutil.copyfile(source, self.path[what] + '.new')
        os.replace(self.path[what] + '.new', self.path[what])

    def settings(self, mode):
        return {'cluster.tls': mode, **{f'cluster.tls_{what}': path for what, path in self.path.items()}}


def node(b, number, seeds, files=None, mode='required', **settings):
    return Member(b, number, seeds, **(files.settings(mode) if files else {}), **settings)


def change(member, mode, files):
    """Ends the node and starts it anew, with another cluster.tls; where its log begins then."""
    member.broker.stop()
    since = member.broker.log_size()
    for key in ('cluster.tls', 'cluster.tls_certificate', 'cluster.tls_key', 'cluster.tls_ca'):
        member.broker.settings.pop(key, None)
    if mode != 'off':
        member.broker.settings.update(files.settings(mode))
    member.broker.start()
    return since


def wait_heard(one, other):
    """Messages come to the one from the other: the first of them may be lost, if one was just started."""
    topic = f'heard/{one.name}/{time.monotonic_ns()}'
    reader, writer = one.broker.connected(), other.broker.connected()
    reader.subscribe(topic, qos=1)

    def arrives():
        writer.publish(topic, b'x', qos=1)
        try:
            return reader.recv(timeout=1) is not None
        except Unexpected:
            return False

    wait_until(arrives, SECONDS * Launch.slow, f'{one.name} to hear from {other.name}')
    reader.disconnect()
    writer.disconnect()


def talk(one, two):
    wait_heard(one, two)
    wait_heard(two, one)


def failures(member, since=0):
    return [e['reason'] for e in member.events('link_tls_failed', since=since)]


def wait_failure(since, *members):
    return wait_until(lambda: [why for m in members for why in failures(m, since.get(m, 0))],
                      SECONDS * Launch.slow, 'a failure of TLS to be told')[0]


# ---- It works

@test(only='dunlin', timeout=90)
def messages_go_encrypted(b):
    """Small and large ones, many at a time, in order; a node with another number of shards among them."""
    files = [Files(f'n{i}') for i in range(2)]
    one = node(b, 1, [], files[0], node__shards=2)
    two = node(b, 2, [one], files[1], node__shards=1)
    talk(one, two)
    equal([m.waits('link_up')['encrypted'] for m in (one, two)], ['yes', 'yes'])
    equal([m.figure('links_encrypted_total') > 0 for m in (one, two)], [True, True])
    reader, writer = one.broker.connected(), two.broker.connected()
    reader.subscribe('t', qos=2)
    bodies = [os.urandom(size) for size in (0, 1, 16383, 16384, 16385, 65536, 300000, 1000000)]
    for qos in (1, 2):
        for body in bodies:
            writer.publish('t', body, qos=qos, expect=(0,))
            reader.expect_message('t', body)
    for i in range(1000):
        writer.publish('t', str(i).encode())
    for i in range(1000):
        reader.expect_message('t', str(i).encode())
    equal([failures(m) for m in (one, two)], [[], []])


@test(only='dunlin', timeout=120)
def from_off_to_required_without_a_pause(b):
    """As docs/cluster.md has it: one node after the other, and in each state messages pass."""
    files = [Files(f'n{i}') for i in range(2)]
    one = node(b, 1, [], data__dir=folder())
    two = node(b, 2, [one], data__dir=folder())
    talk(one, two)
    for member, mode, want in ((two, 'offered', 'no'), (one, 'offered', 'yes'), (two, 'required', 'yes'),
                               (one, 'required', 'yes')):
        member.broker.settings['cluster.seeds'] = f'{one.address},{two.address}'
        since = change(member, mode, files[member is two])
        talk(one, two)
        equal(member.waits('link_up', since=since)['encrypted'], want, f'{member.name} has {mode}')
    equal([failures(m) for m in (one, two)], [[], []])


@test(only='dunlin', timeout=90)
def certificates_are_replaced_while_it_runs(b):
    """A new certificate breaks no connection; an authority that is trusted no more ends those of whom it
    has signed, and no other; when it is trusted again they come back."""
    files = [Files(f'n{i}') for i in range(2)]
    one = node(b, 1, [], files[0])
    two = node(b, 2, [one], files[1])
    talk(one, two)
    since = {m: m.broker.log_size() for m in (one, two)}
    for m, f in zip((one, two), files):
        f.shows()
        m.broker.signal(signal.SIGHUP)
        m.waits('certificate_loaded', since=since[m])
    talk(one, two)
    equal([m.events('link_down', since=since[m]) for m in (one, two)], [[], []])
    files[0].trusts('strangers-ca')
    one.broker.signal(signal.SIGHUP)
    one.waits('link_tls_failed', since=since[one])
    one.waits('link_down', since=since[one])
    files[0].trusts('strangers-ca', 'clients-ca')
    again = one.broker.log_size()
    one.broker.signal(signal.SIGHUP)
    one.waits('link_up', since=again)
    talk(one, two)
    # What is not good is told, and the former stays in force.
    with open(files[0].path['key'], 'w', encoding='ascii') as f:
        f.write('no key\n')
    again = one.broker.log_size()
    one.broker.signal(signal.SIGHUP)
    equal(one.waits('certificate_reload_failed', since=again)['in_force'], 'what was read before')
    talk(one, two)
    equal([m.events('node_died') for m in (one, two)], [[], []])


# ---- It does not

@test(only='dunlin', timeout=60, each=[
    ('stranger', {'authority': 'strangers-ca'}), ('expired', {'begin': -30 * DAY, 'end': -1 * DAY})])
def who_shows_a_bad_certificate_is_not_connected_to(b, name, how):
    """Both know that the other lives, as it has the key; no message passes, and both say why. A third
    node notices nothing."""
    good = [Files(f'{name}{i}') for i in range(2)]
    bad = Files(f'{name}bad', **how)
    one = node(b, 1, [], good[0])
    two = node(b, 2, [one], bad)
    third = node(b, 3, [one], good[1])
    know_each_other(one, two, third)
    talk(one, third)
    wait_failure({}, one)
    equal(one.figure('tls_failed_total') + one.broker.counter('link_tls_failed') > 0, True)
    wait_until(lambda: failures(two), SECONDS * Launch.slow, 'the other to say so, too')
    equal(two.events('link_up'), [])
    equal(one.figure('members_alive'), 3.0)
    since = one.broker.log_size()
    talk(one, third)
    equal(one.events('link_down', since=since), [])


@test(only='dunlin', timeout=60, each=[('off', 'required'), ('required', 'off')])
def modes_that_do_not_fit_are_told(b, mode_of_one, mode_of_two):
    """Whoever has the lower UUID, and so would call."""
    files = Files(mode_of_one)
    one = node(b, 1, [], files if mode_of_one != 'off' else None)
    two = node(b, 2, [one], files if mode_of_two != 'off' else None)
    know_each_other(one, two)
    wait_until(lambda: failures(one) + failures(two), SECONDS * Launch.slow, 'a word about it')
    equal([m.events('link_up') for m in (one, two)], [[], []])


@test(only='dunlin', each=[({'cluster.tls': 'required'}, 'cluster.tls_certificate'),
                           ({'cluster.tls_ca': 'ca.pem'}, 'cluster.tls is off')])
def settings_that_make_no_sense_are_told(_b, settings, want):
    words = [word for item in settings.items() for word in ('--set', '='.join(item))]
    done = subprocess.run([Launch.program, *words, '--check-config'], capture_output=True, text=True, check=False)
    equal((done.returncode != 0, want in done.stdout + done.stderr), (True, True), done.stderr)


def knock(address, key=1):
    """A connection to the node, of somebody who has the cluster's key and is no member."""
    host, port = address.split(':')
    c = socket.create_connection((host, int(port)), timeout=SECONDS * Launch.slow)
    uuid, random = b'\1' * 16, os.urandom(32)
    c.sendall(b'DLNK' + uuid + random)
    answer = b''
    while len(answer) < 64:
        part = c.recv(64 - len(answer))
        equal(part != b'', True, 'an answer to the knock')
        answer += part
    secret = hmac.new(b'\0' * 32, bytes([key]) * 32, hashlib.sha256).digest()
    secret = hmac.new(secret, b'dunlin knock 1\1', hashlib.sha256).digest()
    return c, lambda acceptor, cluster: c.sendall(hmac.new(
        secret, b'dial' + uuid + acceptor + cluster + random + answer[:32], hashlib.sha256).digest())


def uuid_of(name):
    """That of a cluster, made of its name."""
    digest = bytearray(hashlib.sha256(b'dunlin cluster 1\0' + name.encode()).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0f | 0x40, digest[8] & 0x3f | 0x80
    return bytes(digest)


def ended(c):
    """It is closed, whatever was said before."""
    try:
        while c.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


@test(only='dunlin', timeout=90)
def who_has_the_key_and_no_certificate_gets_nowhere(b):
    """Every way to begin TLS badly, each refused in time; none of it is noticed by those who are there."""
    files, key = [Files(f'k{i}') for i in range(2)], key_file(1)
    one = node(b, 1, [], files[0], cluster__key_file=key)
    two = node(b, 2, [one], files[1], cluster__key_file=key)
    talk(one, two)
    acceptor = bytes.fromhex(two.waits('node_joined', one.name)['node'].replace('-', ''))

    def call():
        c, prove = knock(one.address)
        prove(acceptor, uuid_of('dunlin'))
        b.open.append(c)
        return c

    def tls(**how):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([how.get('alpn', 'dunlin-link/1')])
        if 'version' in how:
            context.minimum_version = context.maximum_version = how['version']
        if 'show' in how:
            context.load_cert_chain(how['show'].path['certificate'], how['show'].path['key'])
        return context.wrap_socket(call())

    before = one.figure('links_refused_total')
    for start in (b'\x16\x03\x01\0\5hello', b'\x16\x03\3' + bytes(400), b'\x16\x03\1\xff\xff' + bytes(1000)):
        c = call()
        c.sendall(start)
        equal(ended(c), True)
    for how in ({'version': ssl.TLSVersion.TLSv1_2}, {'alpn': 'mqtt', 'show': files[1]}):
        try:
            equal(ended(tls(**how)), True)
        except ssl.SSLError:
            pass
    c = tls()  # 1.3: the client learns it behind its handshake
    try:
        ended(c)
        equal('it was let in', '')
    except ssl.SSLError as e:
        equal('CERTIFICATE' in str(e).upper(), True, str(e))
    for word in (b'x' * 2000, b'\xff' * 24, bytes(24)):  # with a certificate; and then no HELLO
        c = tls(show=files[1])
        c.sendall(word)
        try:
            equal(ended(c), True)
        except ssl.SSLError:
            pass
    c = call()
    c.sendall(bytes(24))  # not encrypted
    equal(ended(c), True)
    half = call()  # begins, and says nothing more
    half.sendall(b'\x16\x03\1\2\0\1')
    equal(ended(half), True)
    wait_until(lambda: one.figure('links_refused_total') >= before + 9, SECONDS * Launch.slow)
    talk(one, two)
    equal([m.events('node_died') + m.events('link_down') for m in (one, two)], [[], []])
