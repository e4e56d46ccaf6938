# SPDX-License-Identifier: Apache-2.0
"""Client certificates: who is taken, and with which alert and which line in the log who is not."""
import os
import shutil
import signal

from harness import Launch, equal, finish, lines_until, test, wait_until
from pki import pki
from raw import V311, Unexpected, wire
from tls import (BAD_CERTIFICATE, CERTIFICATE_EXPIRED, CERTIFICATE_REQUIRED, CERTIFICATE_REVOKED,
                 DECRYPT_ERROR, HANDSHAKE_FAILURE, UNKNOWN_CA, UNSUPPORTED_CERTIFICATE, V1_2, V1_3,
                 Tls, asking, mosquitto, refusal)

SECONDS = 8
VERSIONS = (V1_2, V1_3)
CLIENTS = ('good', 'good-rsa')

# What is wrong with it, and the alerts that say so (RFC 8446, 6.2). A certificate that is not valid
# yet has none of its own: certificate_expired is for "has expired or is not currently valid", and
# bad_certificate is what OpenSSL says.
REFUSED = {
    'expired': (CERTIFICATE_EXPIRED,),
    'future': (CERTIFICATE_EXPIRED, BAD_CERTIFICATE),
    'revoked': (CERTIFICATE_REVOKED,),
    'stranger': (UNKNOWN_CA,),
    'forged': (UNKNOWN_CA, BAD_CERTIFICATE, DECRYPT_ERROR),
    'server-only': (UNSUPPORTED_CERTIFICATE, BAD_CERTIFICATE),
}


def LISTENERS():
    return {'required': asking('required', crl=pki().crl()),
            'optional': asking('optional', crl=pki().crl()),
            'below': asking('required', client_ca=pki().certificate('clients-both'),
                            crl=pki().crl_below()),
            'no_crl': asking('required')}


def one_line(b, since):
    """Each refusal is one line, of who and where and why."""
    if Launch.kind != 'dunlin':
        return
    line = b.one_event('tls_handshake_failed', since)
    equal(line['peer'].startswith('127.0.0.1:'), True, line)
    equal('tls://' in line['listener'] or line['listener'].isdigit(), True, line)
    equal(len(line['reason']) > 3, True, line)


# ---- Who is taken

@test(each=[(version, client) for version in VERSIONS for client in CLIENTS])
def good_certificate_is_taken(b, version, client):
    s = b.connected(at='required', wrap=Tls(client, version=version))
    s.subscribe(f'clients/{version}/{client}', qos=1)
    b.connected(at='required', wrap=Tls(client, version=version)).publish(
        f'clients/{version}/{client}', b'x', qos=1)
    s.expect_message(payload=b'x')


@test(each=[(version, at) for version in VERSIONS for at in ('no_crl', 'below')])
def certificate_below_an_intermediate_is_taken(b, version, at):
    """The client sends what is between it and the authority."""
    b.connected(at=at, wrap=Tls('below', version=version)).ping()


@test(only='dunlin', each=[(version, client) for version in VERSIONS for client in ('good', None)])
def optional_takes_both(b, version, client):
    b.connected(at='optional', wrap=Tls(client, version=version)).ping()


@test(each=[(version,) for version in VERSIONS])
def revoked_is_taken_where_nothing_is_revoked(b, version):
    """That it is the list that refuses it elsewhere."""
    b.connected(at='no_crl', wrap=Tls('revoked', version=version)).ping()


# ---- Who is not

@test(each=[(version, client) for version in VERSIONS for client in REFUSED])
def bad_certificate_is_refused(b, version, client):
    since = b.log_size()
    alert = refusal(b.at['required'], Tls(client, version=version))
    equal(alert in REFUSED[client], True, f'alert {alert}, of {REFUSED[client]}')
    one_line(b, since)


@test(only='dunlin', each=[(version, client) for version in VERSIONS for client in REFUSED])
def bad_certificate_is_refused_where_none_would_do(b, version, client):
    since = b.log_size()
    alert = refusal(b.at['optional'], Tls(client, version=version))
    equal(alert in REFUSED[client], True, f'alert {alert}, of {REFUSED[client]}')
    one_line(b, since)


@test(each=[(version,) for version in VERSIONS])
def revoked_below_an_intermediate_is_refused(b, version):
    since = b.log_size()
    equal(refusal(b.at['below'], Tls('revoked-below', version=version)), CERTIFICATE_REVOKED)
    one_line(b, since)
    b.connected(at='no_crl', wrap=Tls('revoked-below', version=version)).ping()


@test(each=[(V1_2, HANDSHAKE_FAILURE), (V1_3, CERTIFICATE_REQUIRED)])
def no_certificate_is_refused_where_it_is_required(b, version, want):
    since = b.log_size()
    equal(refusal(b.at['required'], Tls(version=version)), want)
    one_line(b, since)


@test(each=[(version, client) for version in VERSIONS for client in ('revoked', None)])
def what_the_refused_sends_is_not_heard(b, version, client):
    """In 1.3 a client may send before it knows: its CONNECT and PUBLISH come to nothing."""
    s = b.connected()
    s.subscribe('clients/unheard')
    refusal(b.at['required'], Tls(client, version=version),
            wire.connect(V311, 'unheard') + wire.publish(V311, 'clients/unheard', b'x'))
    b.connected().publish('clients/unheard', b'end', qos=1)
    s.expect_message('clients/unheard', b'end')


@test(each=[(version,) for version in VERSIONS])
def good_client_is_none_the_worse_for_others(b, version):
    """Refused ones beside him, by the dozen."""
    c = b.connected(at='required', wrap=Tls('good', version=version))
    for _ in range(5):
        for client in REFUSED:
            refusal(b.at['required'], Tls(client, version=version))
        c.publish('clients/beside', b'x', qos=2)


@test(only='dunlin', each=[(version,) for version in VERSIONS])
def no_resumption_past_the_check(b, version):
    """A ticket is not a certificate: whoever has to show one shows it each time."""
    how = Tls('good', version=version)
    c = b.connected(at='required', wrap=how)
    again = b.client(at='required', wrap=how.resuming(c.sock.session))
    equal(again.sock.session_reused, False)
    again.connect()


@test(only='dunlin', each=[(version,) for version in VERSIONS])
def ticket_of_a_listener_that_does_not_ask_is_no_way_in(b, version):
    """Both have the same ticket keys; the session of one has no certificate in it."""
    path = pki().path(f'tickets-of-two-{version}')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('ab' * 32 + '\n')
    plain = {key: value for key, value in asking('none').items() if key != 'client_ca'}
    other = b.another({'tls.ticket_keys': path},
                      listeners={'open': plain, 'required': asking('required')})
    how = Tls(version=version)
    c = other.connected(at='open', wrap=how)
    session = c.sock.session
    equal(other.client(at='open', wrap=how.resuming(session)).sock.session_reused, True)
    alert = refusal(other.at['required'], how.resuming(session))
    equal(alert, HANDSHAKE_FAILURE if version == V1_2 else CERTIFICATE_REQUIRED)


# ---- The list of the revoked is replaced

@test(only='dunlin', each=[('watched',), ('reloaded',)])
def revoked_from_now_on(b, how):
    p, crl = pki(), pki().path(f'changing-{how}.crl.pem')
    shutil.copy(p.crl(), crl)
    name = f'leaver-{how}'
    p.issue(name, 'clients-ca', usage='clientAuth')
    other = b.another(listeners={'required': asking('required', crl=crl)})
    other.connected(at='required', wrap=Tls(name)).ping()

    with open(crl + '.new', 'w', encoding='utf-8') as f:
        f.write(p.revoke('clients-ca', name))
    os.replace(crl + '.new', crl)
    if how == 'reloaded':
        other.signal(signal.SIGHUP)

    def is_refused():
        try:
            return refusal(other.at['required'], Tls(name), wire.connect(V311, 'leaver'))
        except Unexpected:  # not yet: it is answered
            return None

    equal(wait_until(is_refused, what='a refusal'), CERTIFICATE_REVOKED)
    other.connected(at='required', wrap=Tls('good')).ping()


# ---- Clients that others wrote

@test(each=[('required',), ('no_crl',)])
def mosquitto_clients(b, at):
    topic = f'clients/mosquitto/{at}'
    s = mosquitto(b, 'mosquitto_sub', at, 'good', '-d', '-F', 'message %p', '-q', '1', '-t', topic)
    lines_until(s, 'Subscribed (mid')
    finish(mosquitto(b, 'mosquitto_pub', at, 'good', '-q', '1', '-t', topic, '-m', 'hello'))
    equal(lines_until(s, 'message ')[-1], 'message hello')


@test(only='dunlin', each=[('good',), (None,)])
def mosquitto_clients_where_it_is_optional(b, client):
    topic = f'clients/mosquitto/optional/{client}'
    s = mosquitto(b, 'mosquitto_sub', 'optional', client, '-d', '-F', 'message %p', '-t', topic)
    lines_until(s, 'Subscribed (mid')
    finish(mosquitto(b, 'mosquitto_pub', 'optional', client, '-q', '1', '-t', topic, '-m', 'x'))
    equal(lines_until(s, 'message ')[-1], 'message x')


@test(each=[(client,) for client in (*REFUSED, None)])
def mosquitto_pub_is_refused(b, client):
    since = b.log_size()
    process = mosquitto(b, 'mosquitto_pub', 'required', client, '-q', '1', '-t', 'x', '-m', 'x')
    out, _ = process.communicate(timeout=20 * Launch.slow)
    equal(process.returncode != 0, True, out)
    one_line(b, since)
