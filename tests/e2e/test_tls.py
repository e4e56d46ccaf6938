# SPDX-License-Identifier: Apache-2.0
"""TLS: versions, ciphers, names, resumption, and that what goes through it comes out the same.

Clients' certificates are in test_tls_clients.py, replaced files in test_tls_rotation.py, those who
mean ill in test_tls_hostile.py.
"""
import hashlib
import re
import secrets
import signal
import ssl
import subprocess

from harness import Launch, equal, finish, lines_until, test, wait_until
from pki import pki
from raw import V5, V311, Unexpected, Will, publish_many, wire
from tls import (HANDSHAKE_FAILURE, NO_APPLICATION_PROTOCOL, PROTOCOL_VERSION, V1_2, V1_3, Tls,
                 leaf, refusal, s_client, s_client_output)

SET = {'limits.packet_bytes_max': 2 << 20}
SECONDS = 12
VERSIONS = [(V1_2,), (V1_3,)]
MIB = 1 << 20


def of(name, **more):
    """A TLS listener with that certificate."""
    return {'url': 'tls://{}', 'certificate': pki().chain(name), 'key': pki().key(name), **more}


def LISTENERS():
    return {
        'tls': of('server'), 'rsa': of('server-rsa'), 'modern': of('server', tls_min='1.3'),
        'several': of('server', certificate=','.join(map(pki().chain, ('server', 'other'))),
                      key=','.join(map(pki().key, ('server', 'other')))),
        'one_cipher': of('server', ciphers='ECDHE-ECDSA-AES256-GCM-SHA384'),
    }


# ---- Versions and ciphers

@test(each=[('-tls1_2', 'TLSv1.2'), ('-tls1_3', 'TLSv1.3')])
def version_is_spoken(b, flag, version):
    out = s_client_output(b, 'tls', flag)
    equal(bool(re.search(rf'^New, {re.escape(version)}, Cipher is ', out, re.MULTILINE)), True, out)


@test(mosquitto='refuses 1.1 with internal_error', each=[('-tls1',), ('-tls1_1',)])
def old_version_is_refused(b, flag):
    out = s_client_output(b, 'tls', flag, '-cipher', 'ALL:@SECLEVEL=0', ok=False)
    equal(f'SSL alert number {PROTOCOL_VERSION}' in out, True, out)


@test
def least_version_is_what_the_listener_says(b):
    equal(refusal(b.at['modern'], Tls(version=V1_2)), PROTOCOL_VERSION)
    b.connected(at='modern', wrap=Tls(version=V1_3)).ping()


POLICY_1_2 = ('AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305')
POLICY_1_3 = ('TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256')


@test(each=[(at, f'ECDHE-{kind}-{name}') for at, kind in (('tls', 'ECDSA'), ('rsa', 'RSA'))
            for name in POLICY_1_2])
def cipher_of_the_policy(b, at, cipher):
    out = s_client_output(b, at, '-tls1_2', '-cipher', cipher)
    equal(f'Cipher is {cipher}\n' in out, True, out)


@test(each=[(name,) for name in POLICY_1_3])
def cipher_of_1_3(b, cipher):
    out = s_client_output(b, 'tls', '-tls1_3', '-ciphersuites', cipher)
    equal(f'Cipher is {cipher}\n' in out, True, out)


@test(only='dunlin', each=[
    ('rsa', 'AES128-GCM-SHA256'),          # no forward secrecy
    ('rsa', 'AES256-SHA'), ('rsa', 'AES128-SHA256'),
    ('rsa', 'DHE-RSA-AES128-GCM-SHA256'),  # another key exchange
    ('rsa', 'ECDHE-RSA-AES128-SHA'), ('rsa', 'ECDHE-RSA-AES256-SHA384'),  # CBC
    ('tls', 'ECDHE-ECDSA-AES128-SHA256'), ('tls', 'ECDHE-ECDSA-AES256-SHA'),
    ('rsa', 'AECDH-AES128-SHA'), ('rsa', 'NULL-SHA256'), ('rsa', 'ECDHE-RSA-NULL-SHA')])
def cipher_outside_the_policy_is_refused(b, at, cipher):
    out = s_client_output(b, at, '-tls1_2', '-cipher', f'{cipher}:@SECLEVEL=0', ok=False)
    equal(f'SSL alert number {HANDSHAKE_FAILURE}' in out, True, out)


@test
def ciphers_are_what_the_listener_says(b):
    only = 'ECDHE-ECDSA-AES256-GCM-SHA384'
    equal(f'Cipher is {only}\n' in s_client_output(b, 'one_cipher', '-tls1_2'), True)
    equal(refusal(b.at['one_cipher'], Tls(version=V1_2, ciphers='ECDHE-ECDSA-AES128-GCM-SHA256')),
          HANDSHAKE_FAILURE)


def server_hellos(said):
    """Their bytes, from what s_client -msg prints."""
    found = re.findall(r'^<<< TLS [\d.]+, Handshake \[length \w+\], ServerHello\n((?: +[0-9a-f ]+\n)+)',
                       said, re.MULTILINE)
    return [bytes.fromhex(''.join(text.split())) for text in found]


@test
def renegotiation_is_refused(b):
    process = s_client(b, 'tls', '-tls1_2', '-msg', stdin=subprocess.PIPE)
    said = lines_until(process, 'Verify return code')
    process.stdin.write('R\n')
    process.stdin.flush()
    said += lines_until(process, 'RENEGOTIATING')
    said += process.communicate(timeout=30 * Launch.slow)[0].splitlines()  # its end, or the server's
    equal(len(server_hellos('\n'.join(said))), 1, 'ServerHello')


@test
def downgrade_is_signalled(b):
    """Who speaks 1.3 but was brought to 1.2 sees it in the last 8 bytes of the server's random
    (RFC 8446, 4.1.3)."""
    hello, = server_hellos(s_client_output(b, 'tls', '-tls1_2', '-msg'))
    equal(hello[4 + 2 + 24:4 + 2 + 32], b'DOWNGRD\x01')
    hello = server_hellos(s_client_output(b, 'tls', '-tls1_3', '-msg'))[-1]
    equal(hello[4 + 2 + 24:4 + 2 + 31] == b'DOWNGRD', False, 'a signal in 1.3')


# ---- ALPN

@test(only='dunlin', each=VERSIONS)
def alpn_chooses_mqtt(b, version):
    c = b.connected(at='tls', wrap=Tls(version=version, alpn=['x-other', 'mqtt', 'http/1.1']))
    equal(c.sock.selected_alpn_protocol(), 'mqtt')
    c.ping()


@test(only='dunlin', each=VERSIONS)
def alpn_without_mqtt_is_refused(b, version):
    """RFC 7301, 3.2; bytes meant for one protocol cannot be brought to another."""
    equal(refusal(b.at['tls'], Tls(version=version, alpn=['h2', 'http/1.1'])),
          NO_APPLICATION_PROTOCOL)


@test(each=VERSIONS)
def alpn_is_not_demanded(b, version):
    c = b.connected(at='tls', wrap=Tls(version=version))
    equal(c.sock.selected_alpn_protocol(), None)
    c.ping()


# ---- Certificates of the server

@test(each=[('tls', 'server'), ('rsa', 'server-rsa')])
def chain_is_sent_whole(b, at, name):
    """The certificate and those between it and the root, in order, the root left out."""
    out = s_client_output(b, at, '-showcerts', '-verify_hostname', 'broker.test',
                          '-verify_return_error')
    equal('Verify return code: 0 (ok)' in out, True, out)
    sent = re.findall(r'-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----', out, re.DOTALL)
    with open(pki().chain(name), encoding='utf-8') as f:
        equal(sent, f.read().strip().replace('-----\n-----', '-----\n\n-----').split('\n\n'))


@test(only='dunlin', each=[(name, want, version) for name, want in (
    ('broker.test', 'server'), ('other.test', 'other'), ('OTHER.Test', 'other'),
    ('a.wild.test', 'other'), ('a.b.wild.test', 'server'), ('wild.test', 'server'),
    ('unknown.test', 'server'), ('other.test.evil.test', 'server'), (None, 'server'))
    for version in (V1_2, V1_3)])
def name_chooses_the_certificate(b, name, want, version):
    how = Tls(version=version, server=name)
    how.context.check_hostname = False  # the default is for another one
    c = b.client(at='several', wrap=how)
    equal(c.sock.getpeercert()['serialNumber'], pki().serial(want))
    c.connect()
    c.ping()


# ---- Resumption

def resumes(b, at, how, session):
    """Whether that session is resumed by a new connection, which works."""
    c = b.client(at=at, wrap=how.resuming(session))
    resumed = c.sock.session_reused
    c.connect()
    c.ping()
    c.close()
    return resumed


def session_of(b, at, how):
    """That of a new connection, which has had its ticket by the time of an answer."""
    c = b.connected(at=at, wrap=how)
    equal(c.sock.session_reused, False, 'a first connection resumed')
    session = c.sock.session
    equal(session.has_ticket, True, 'a ticket')
    c.close()
    return session


@test(each=VERSIONS)
def session_is_resumed_by_its_ticket(b, version):
    how = Tls(version=version)
    session = session_of(b, 'tls', how)
    for _ in range(3):
        equal(resumes(b, 'tls', how, session), True)
    equal(resumes(b, 'tls', Tls(version=version), None), False)


@test(each=VERSIONS)
def forged_ticket_is_a_full_handshake(b, version):
    """Sealed by others: another process's random key."""
    how = Tls(version=version)
    other = b.another(listeners={'tls': of('server')})
    equal(resumes(b, 'tls', how, session_of(other, 'tls', how)), False)


def write_keys(path, *keys):
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(key.hex() + '\n' for key in keys)


def restart(b):
    b.signal(signal.SIGTERM)
    equal(b.wait_end(), 0)
    b.start()


@test(only='dunlin', each=VERSIONS)
def ticket_survives_a_restart_with_its_key(b, version):
    """With the same keys, or with its key behind a new one; not without it."""
    path = pki().path(f'tickets-{version}')
    first, second, third = (secrets.token_bytes(32) for _ in range(3))
    how = Tls(version=version)
    write_keys(path, first)
    other = b.another({'tls.ticket_keys': path}, listeners={'tls': of('server')})
    session = session_of(other, 'tls', how)
    restart(other)
    equal(resumes(other, 'tls', how, session), True, 'with the same keys')

    write_keys(path, second, first)
    restart(other)
    equal(resumes(other, 'tls', how, session), True, 'with its key in the second place')
    newer = session_of(other, 'tls', how)

    write_keys(path, third, second)
    restart(other)
    equal(resumes(other, 'tls', how, session), False, 'without its key')
    equal(resumes(other, 'tls', how, newer), True, 'the first key seals')

    write_keys(path, third)
    restart(other)
    equal(resumes(other, 'tls', how, newer), False, 'without its key')


@test(only='dunlin', each=VERSIONS)
def ticket_of_another_node_with_the_same_keys(b, version):
    path = pki().path(f'shared-tickets-{version}')
    write_keys(path, secrets.token_bytes(32))
    how = Tls(version=version)
    one, two = (b.another({'tls.ticket_keys': path}, listeners={'tls': of('server')})
                for _ in range(2))
    equal(resumes(two, 'tls', how, session_of(one, 'tls', how)), True)


@test(only='dunlin', each=VERSIONS)
def ticket_dies_with_a_random_key(b, version):
    how = Tls(version=version)
    other = b.another(listeners={'tls': of('server')})
    session = session_of(other, 'tls', how)
    equal(resumes(other, 'tls', how, session), True)
    restart(other)
    equal(resumes(other, 'tls', how, session), False, 'after a restart')


@test(only='dunlin', each=[('', 'no key'), ('00' * 31, 'too short'), ('zz' * 32, 'not hexadecimal'),
                           ('\n'.join(['ab' * 32] * 5), 'five')])
def bad_ticket_keys_are_told(b, text, _why):
    path = pki().path('bad-tickets')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text + '\n')
    told = does_not_start(of('server'), **{'tls.ticket_keys': path})
    equal(path in told, True, told)


# ---- A broker that cannot begin

def does_not_start(listener, **settings):
    """What it says; it has to end by itself."""
    listener = {**listener, 'url': listener['url'].format('127.0.0.1:0')}
    command = [Launch.program]
    for key, value in [*((f'listeners.0.{k}', v) for k, v in listener.items()), *settings.items()]:
        command += ['--set', f'{key}={value}']
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=20 * Launch.slow,
                              check=False)
    except subprocess.TimeoutExpired as e:
        raise Unexpected(f'it runs:\n{e.stdout}') from None
    equal(done.returncode > 0, True, f'{done.returncode}: {done.stdout}')
    return done.stdout


@test(only='dunlin', each=[('certificate',), ('key',)])
def missing_file_is_told(_b, which):
    told = does_not_start(of('server', **{which: '/nowhere/file.pem'}))
    equal('/nowhere/file.pem' in told, True, told)


@test(only='dunlin')
def key_of_another_certificate_is_told(_b):
    told = does_not_start(of('server', key=pki().key('other')))
    equal(pki().key('other') in told or pki().chain('server') in told, True, told)


@test(only='dunlin')
def certificate_that_is_none_is_told(_b):
    told = does_not_start(of('server', certificate='/etc/passwd'))
    equal('/etc/passwd' in told, True, told)


@test(only='dunlin')
def unknown_cipher_is_told(_b):
    told = does_not_start(of('server', ciphers='NO-SUCH-CIPHER'))
    equal('ciphers' in told or 'NO-SUCH-CIPHER' in told, True, told)


# ---- What goes through it

def end(b, kind, **how):
    """A client by that transport."""
    if kind == 'plain':
        return b.connected(**how)
    return b.connected(at='tls', wrap=Tls(version=kind), **how)


PAIRS = [(V1_2, V1_2), (V1_3, V1_3), (V1_3, 'plain'), ('plain', V1_2), ('plain', V1_3)]


@test(each=PAIRS)
def a_mebibyte_goes_through(b, publisher, subscriber):
    topic, payload = f'tls/big/{publisher}/{subscriber}', secrets.token_bytes(MIB)
    s, p = end(b, subscriber), end(b, publisher)
    s.subscribe(topic, qos=2)
    for qos in (0, 1, 2):
        p.publish(topic, payload, qos=qos)
        m = s.expect_message(topic, qos=qos)
        equal(hashlib.sha256(m.payload).hexdigest(), hashlib.sha256(payload).hexdigest())


@test(each=PAIRS)
def many_small_messages_go_through_in_order(b, publisher, subscriber):
    topic = f'tls/small/{publisher}/{subscriber}'
    payloads = [b'%d' % i for i in range(3000)]
    s, p = end(b, subscriber), end(b, publisher)
    s.subscribe(topic, qos=1)
    publish_many(p, topic, payloads, qos=1, window=20)
    for payload in payloads:
        s.expect_message(topic, payload)


@test(each=VERSIONS)
def packet_in_records_of_a_byte(b, version):
    c = b.client(V311, at='tls', wrap=Tls(version=version))
    for byte in wire.connect(V311, 'bytewise'):
        c.send(bytes([byte]))
    c.expect(wire.CONNACK)
    for byte in wire.publish(V311, 'tls/bytes', b'x' * 50, 1, 7):
        c.send(bytes([byte]))
    c.expect(wire.PUBACK, packet_id=7)


@test(each=VERSIONS)
def many_packets_in_a_record(b, version):
    c = b.client(V5, at='tls', wrap=Tls(version=version))
    c.send(wire.connect(V5, 'many-in-one'),
           wire.subscribe(V5, 1, [('tls/many', 0)]),
           *(wire.publish(V5, 'tls/many', b'%d' % i) for i in range(200)))
    c.expect(wire.CONNACK)
    c.expect(wire.SUBACK)
    for i in range(200):
        c.expect_message('tls/many', b'%d' % i)


@test(each=VERSIONS)
def who_reads_late_gets_all_of_it(b, version):
    """More than the kernel's buffers hold: the broker has to go on where it could not write."""
    s = b.client(at='tls', wrap=Tls(version=version), receive_buffer=4096)
    s.connect('late', props={'receive_maximum': 60000})
    s.subscribe('tls/late', qos=1)
    p = b.connected()
    payloads = [secrets.token_bytes(20000) for _ in range(60)]
    publish_many(p, 'tls/late', payloads, qos=1, window=20)
    for payload in payloads:
        equal(s.expect_message('tls/late').payload == payload, True, 'the payload')


@test
def keys_are_updated(b):
    """RFC 8446, 4.6.3: the client's, and on its request the server's."""
    process = s_client(b, 'tls', '-tls1_3', stdin=subprocess.PIPE)
    lines_until(process, 'Verify return code')

    def say(data):
        process.stdin.buffer.write(data)
        process.stdin.buffer.flush()

    def hear(data):
        heard = b''
        while data not in heard:
            more = process.stdout.buffer.read1(4096)
            equal(more != b'', True, f'{data!r} in {heard!r}')
            heard += more

    say(wire.connect(V311, 'updates-keys'))
    hear(b'\x20\x02\x00\x00')
    for _ in range(3):
        say(b'K\n')
        hear(b'KEYUPDATE')
        say(wire.pingreq())
        hear(b'\xd0\x00')


# ---- Its end

@test(each=VERSIONS)
def end_is_announced_to_the_client(b, version):
    """close_notify, so that the end is known to be the broker's, after DISCONNECT and otherwise."""
    for packet, kind in ((b'\x00\x00', wire.DISCONNECT), (wire.disconnect(V5), None)):
        c = b.connected(at='tls', wrap=Tls(version=version, tell_end=True))
        c.send(packet)
        if kind is not None and not c.lenient:
            c.expect(kind)
        elif kind is not None:
            c.recv()
        try:
            c.expect_end()
        except ssl.SSLEOFError as e:
            raise Unexpected(f'the connection ended without close_notify: {e}') from None


@test(each=VERSIONS)
def half_closed_client_has_its_last_packets_dealt_with(b, version):
    """Whoever says close_notify may still have sent something just before."""
    topic = f'tls/half/{version}'
    s = b.connected()
    s.subscribe(topic, qos=0)
    c = b.connected(at='tls', wrap=Tls(version=version), will=Will(topic, b'will'))
    c.send(*(wire.publish(V5, topic, b'%d' % i) for i in range(20)))
    c.sock.close_notify()
    for i in range(20):
        s.expect_message(topic, b'%d' % i)
    s.expect_message(topic, b'will')  # it did not take its leave
    c.expect_end()


@test(each=[(version, how) for version in (V1_2, V1_3) for how in ('close_notify', 'fin', 'reset')])
def lost_connection_leaves_its_will(b, version, how):
    topic = f'tls/will/{version}/{how}'
    s = b.connected()
    s.subscribe(topic)
    c = b.connected(at='tls', wrap=Tls(version=version), will=Will(topic, b'gone'))
    if how == 'close_notify':
        c.sock.close_notify()
    elif how == 'fin':
        c.drop()
    else:
        c.sock.setsockopt(1, 13, b'\x01\0\0\0\0\0\0\0')  # SO_LINGER, 0 s: the kernel resets
        c.close()
    s.expect_message(topic, b'gone')


@test(only='dunlin', each=VERSIONS)
def broker_that_ends_tells_its_clients(b, version):
    other = b.another(listeners={'tls': of('server')})
    clients = [other.connected(at='tls', wrap=Tls(version=version, tell_end=True))
               for _ in range(20)]
    half = other.client(at='tls')
    half.send(b'\x16\x03\x01')
    other.signal(signal.SIGTERM)
    for c in clients:
        c.expect_disconnect(0x8B)
    equal(other.wait_end(), 0)
    other.check_log()


# ---- Clients that others wrote

@test(each=[(v, tls) for v in ('mqttv31', 'mqttv311', 'mqttv5') for tls in ('tlsv1.2', 'tlsv1.3')])
def mosquitto_clients(b, version, tls):
    host, port = b.at['tls']
    how = ('-h', 'localhost', '-p', str(port), '-V', version, '--cafile', pki().certificate('root'),
           '--tls-version', tls, '-q', '2', '-t', f'tls/mosquitto/{version}/{tls}')
    s = b.run('stdbuf', '-oL', 'mosquitto_sub', '-d', '-F', 'message %p', *how)
    lines_until(s, 'Subscribed (mid')
    finish(b.run('mosquitto_pub', '-m', 'hello', *how))
    equal(lines_until(s, 'message ')[-1], 'message hello')


@test
def certificate_is_checked_by_the_client(b):
    """That these tests would notice a wrong one."""
    for how in ({'root': 'clients-ca'}, {'server': 'elsewhere.test'}):
        try:
            leaf(b.at['tls'], **how)
        except ssl.SSLCertVerificationError:
            continue
        raise Unexpected(f'accepted with {how}')
    out, _ = b.run('mosquitto_pub', '-h', 'localhost', '-p', str(b.at['tls'][1]), '--cafile',
                   pki().certificate('clients-ca'), '-t', 'x', '-n').communicate(timeout=20)
    equal('TLS error' in out, True, out)


@test(only='dunlin')
def listener_is_told_with_what_it_speaks(b):
    wait_until(lambda: any(line['url'].startswith('tls://') for line in b.events('listening')),
               what='a line about the TLS listener')
