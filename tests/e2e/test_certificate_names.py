# SPDX-License-Identifier: Apache-2.0
"""Client certificates that say who the client is: as a user, as a client identifier, and until when."""
import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess

from paho.mqtt import client as paho

from harness import Launch, equal, finish, lines_until, test, wait_until
from pki import pki
from proxy import tlv, v2
from raw import CONNACK, V5, V311, Unexpected, Will, wire
from tls import V1_2, V1_3, Tls, asking, mosquitto

SECONDS = 23
BAD, UNAUTHORIZED, BAD_ID, TAKEN_OVER = 0x86, 0x87, 0x85, 0x8E
NUMBERS = itertools.count()
KINDS = {'common_name': 'a device', 'san_dns': 'device.example.org',
         'san_uri': 'urn:dev:42/a', 'san_email': 'device+1@example.org'}
DEBUG = {'log.level': 'debug'}


@functools.lru_cache(maxsize=None)
def with_alice():
    """The setting of a password file with a user in it."""
    path = os.path.abspath(os.path.join(Launch.folder, f'names-{os.getpid()}.passwords'))
    subprocess.run([Launch.program, 'passwd', '--create', path, 'alice'], check=True,
                   capture_output=True, input=b'wonderland\n')
    return {'auth.password_file': path}


@functools.lru_cache(maxsize=None)
def named(name, **how):
    """A client's certificate; made once."""
    pki().issue(name, 'clients-ca', usage='clientAuth', **{'common_name': name, **how})
    return name


def device():
    return named('named-device', common_name='a device', names=(
        'DNS:device.example.org', 'URI:urn:dev:42/a', 'email:device+1@example.org'))


def house(b, settings=None, demand='required', **listener):
    return b.another({**DEBUG, **(settings or {})},
                     listeners={'named': asking(demand, **listener)})


def user_of(b, at='named', wrap=None, **connect):
    """The user as whom a client is connected."""
    client_id = f'user-of-{next(NUMBERS)}'
    b.connected(client_id, at=at, wrap=wrap, **connect)
    return wait_until(lambda: [line for line in b.events('client_connected')
                               if line['client_id'] == client_id], what='its line')[0]['user_name']


def answer(b, version, at='named', wrap=None, client_id='', **connect):
    """The reason code that a CONNECT gets."""
    c = b.client(version, at, wrap=wrap)
    c.send(wire.connect(version, client_id, **connect))
    code = c.expect(CONNACK).reason
    if code != 0:
        c.expect_end()
    return code


# ---- Users

@test(only='dunlin', each=[(kind, version) for kind in KINDS for version in (V1_2, V1_3)])
def certificate_names_the_user(b, kind, version):
    other = house(b, user_from=kind)
    equal(user_of(other, wrap=Tls(device(), version=version)), KINDS[kind])
    equal(user_of(other, wrap=Tls(device(), version=version), username='somebody else'),
          KINDS[kind], 'it is asked before a password')
    equal(other.counter('logins_accepted'), 2)


@test(only='dunlin')
def rsa_certificate_below_an_intermediate_names_the_user(b):
    """The client sends two certificates; the authority's is not its name."""
    pki().issue('named-below', 'clients-below', usage='clientAuth', algorithm='rsa')
    equal(user_of(house(b, user_from='common_name'), wrap=Tls('named-below')), 'named-below')


def signed_anew(name, old, new, **how):
    pki().issue(name, 'clients-ca', usage='clientAuth', **how)
    pki().forge(name, 'clients-ca', old, new)
    return name


def large(name):
    """Of more than wolfSSL keeps; the first that it does keep is the intermediate's."""
    if not os.path.exists(pki().chain(name)):
        pki().issue(name, 'clients-below', usage='clientAuth', names=(
            'URI:urn:device', *(f'IP:10.0.{i // 250}.{i % 250}' for i in range(800))))
    return name


# A kind of name, and a certificate whose name of that kind must be nobody's.
HOSTILE = {
    'NUL': ('common_name', lambda n: signed_anew(n, b'admin.x', b'admin\0x',
                                                 common_name='admin.x')),
    'control character': ('common_name', lambda n: signed_anew(n, b'admin.x', b'admin\nx',
                                                               common_name='admin.x')),
    'asterisk': ('common_name', lambda n: named(n, common_name='*.example.org')),
    'asterisk of hosts': ('san_dns', lambda n: named(n, names=('DNS:*.example.org',))),
    'NUL in a host': ('san_dns', lambda n: signed_anew(n, b'admin.x.org', b'admin\0x.org',
                                                       names=('DNS:admin.x.org',))),
    'several common names': ('common_name', lambda n: named(n, subject='/CN=admin/CN=device')),
    'several hosts': ('san_dns', lambda n: named(n, names=('DNS:admin', 'DNS:device'))),
    'too long': ('san_uri', lambda n: named(n, names=('URI:urn:' + 'x' * 252,))),
    'too large': ('san_uri', large),
    'too large for a common name': ('common_name', large),
    'none of the kind': ('san_email', lambda n: named(n, names=('DNS:device',))),
}


@test(only='dunlin', each=[(what,) for what in HOSTILE])
def name_that_could_be_mistaken_is_nobodys(b, what):
    """It is asked for a password, where there are any; its certificate alone is not enough. Some of
    them wolfSSL does not take at all."""
    kind, make = HOSTILE[what]
    wrap = Tls(make(f'hostile-{what.replace(" ", "-")}'))
    other = house(b, with_alice(), user_from=kind, client_id_from='none')
    code = None
    with contextlib.suppress(OSError):
        code = answer(other, V5, wrap=wrap)
    if code is None:
        equal(len(other.events('tls_handshake_failed')), 1)
        equal('NUL' in what, True, what)
        return
    equal(code, UNAUTHORIZED)
    equal(answer(other, V5, wrap=wrap, username='admin'), BAD)
    equal(user_of(other, wrap=wrap, username='alice', password='wonderland'), 'alice')


@test(only='dunlin')
def name_of_the_longest_is_a_name(b):
    uri = 'urn:' + 'x' * 251
    equal(user_of(house(b, user_from='san_uri'), wrap=Tls(named('named-long', names=('URI:' + uri,)))),
          uri)


@test(only='dunlin', each=[('certificate,password', 0), ('password,certificate', BAD)])
def order_of_the_methods_decides(b, methods, code):
    other = house(b, {**with_alice(), 'auth.methods': methods}, user_from='common_name')
    how = {'wrap': Tls(device())}
    equal(answer(other, V5, **how, username='alice', password='wrong'), code)
    equal(user_of(other, **how), 'a device')
    equal(user_of(other, **how, username='alice', password='wonderland'),
          'alice' if code else 'a device')


@test(only='dunlin', each=[(V311,), (V5,)])
def optional_certificate_is_asked_for_or_a_password(b, version):
    other = house(b, with_alice(), demand='optional', user_from='common_name')
    refused = UNAUTHORIZED if version == V5 else 5
    equal(answer(other, version, wrap=Tls()), refused)
    equal(answer(other, version, wrap=Tls(device())), 0)
    equal(answer(other, version, wrap=Tls(), username='alice', password='wonderland'), 0)


@test(only='dunlin')
def required_certificate_alone_is_enough_where_it_names_no_user(b):
    equal(user_of(house(b, with_alice()), wrap=Tls(device())), '')


# ---- Client identifiers

@test(only='dunlin', each=[(kind,) for kind in KINDS])
def certificate_names_the_client(b, kind):
    """Who leaves the identifier out gets it, on whichever shard its session is at home; who gives it
    has it anyway; another one is none of its own."""
    other = house(b, {'node.shards': '4'}, client_id_from=kind)
    wrap, name = Tls(device()), KINDS[kind]
    told = other.client(at='named', wrap=wrap)
    equal(told.connect('').prop('assigned_client_identifier'), name)
    same = other.client(at='named', wrap=wrap)
    equal(same.connect(name).prop('assigned_client_identifier'), None)
    told.expect_disconnect(TAKEN_OVER)
    older = other.client(V311, at='named', wrap=wrap)
    older.connect('', clean_start=True)
    same.expect_disconnect(TAKEN_OVER)
    for version in V311, V5:
        equal(answer(other, version, wrap=wrap, client_id=name + 'x'),
              BAD_ID if version == V5 else 2)
    older.ping()


@test(only='dunlin')
def session_is_the_named_ones(b):
    """Left with an identifier, found again without."""
    other = house(b, {'node.shards': '4'}, client_id_from='common_name')
    for i in range(4):
        wrap = Tls(named(f'named-session-{i}'))
        props = {'session_expiry_interval': 100}
        other.connected(f'named-session-{i}', at='named', wrap=wrap, props=props).disconnect()
        c = other.client(at='named', wrap=wrap)
        equal(c.connect('', clean_start=False, props=props).session_present, True)


@test(only='dunlin')
def older_client_that_wants_a_session_gives_its_identifier(b):
    """[MQTT-3.1.3-8]"""
    other = house(b, client_id_from='common_name')
    c = other.client(V311, at='named', wrap=Tls(device()))
    c.send(wire.connect(V311, '', clean_start=False))
    c.expect(CONNACK, reason=2)
    c.expect_end()


@test(only='dunlin')
def who_has_no_name_is_nobodys_client(b):
    """Else it could be anybody's session that it takes."""
    other = house(b, demand='optional', client_id_from='san_dns')
    for wrap in Tls(), Tls(named('named-no-dns')):
        for client_id in '', 'device.example.org':
            equal(answer(other, V5, wrap=wrap, client_id=client_id), BAD_ID)


# ---- Rules

@test(only='dunlin')
def rules_know_the_common_name(b):
    """${cn}, also of who is no user by it."""
    path = os.path.join(Launch.folder, f'names-{os.getpid()}.acl')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('allow all of/${cn}/#\n')
    other = b.another({'acl.file': path}, listeners={
        'named': asking('optional'), 'told': balanced()})
    for at, wrap, mine in (('named', Tls(device()), 0), ('named', Tls(), 0x87),
                           ('named', Tls(named('named-else')), 0x87),
                           ('told', behind(told_of(b'a device')), 0),
                           ('told', behind(told_of(b'a device', verify=b'\0\0\0\1')), 0x87)):
        c = other.connected(at=at, wrap=wrap)
        c.subscribe('of/a device/x', qos=1, expect=[0x87 if mine else 1])


# ---- By a load balancer's word

SSL, VERIFIED = 0x20, b'\0\0\0\0'


def told_of(common_name, verify=VERIFIED, client=b'\x07'):
    return v2('203.0.113.7', tlvs=tlv(SSL, client + verify + tlv(0x22, common_name)))


def behind(header, then=None):
    def wrap(sock):
        sock.sendall(header)
        return sock if then is None else then(sock)
    return wrap


def balanced(**more):
    return {'url': 'tcp://{}', 'proxy_protocol': 'required', 'proxy_from': '127.0.0.1', **more}


@test(only='dunlin')
def load_balancer_tells_the_name(b):
    other = b.another(DEBUG, listeners={
        'user': balanced(user_from='common_name'), 'client': balanced(client_id_from='common_name')})
    equal(user_of(other, 'user', behind(told_of(b'a device'))), 'a device')
    c = other.client(at='client', wrap=behind(told_of(b'a device')))
    equal(c.connect('').prop('assigned_client_identifier'), 'a device')
    c.subscribe('told/#', qos=1)
    c.publish('told/x', b'x' * 100000, qos=1)
    c.expect_message(payload=b'x' * 100000)
    for header in (told_of(b'a device', verify=b'\0\0\0\1'), told_of(b'admin\0x'), told_of(b'admin\xc0\x80'),
                   told_of(b''), told_of(b'*.example.org'), told_of(b'a' * 256), v2('203.0.113.7')):
        equal(answer(other, V5, at='user', wrap=behind(header)), UNAUTHORIZED, header)
        equal(answer(other, V5, at='client', wrap=behind(header), client_id='a device'), BAD_ID)


@test(only='dunlin')
def certificate_of_a_load_balancer_is_not_its_clients(b):
    """It has ended its client's TLS, and begun another with a certificate of its own."""
    other = b.another(DEBUG, listeners={'named': asking(
        'required', user_from='common_name', proxy_protocol='required', proxy_from='127.0.0.1')})
    own = Tls(device())
    equal(user_of(other, wrap=behind(told_of(b'its client'), own)), 'its client')
    equal(answer(other, V5, wrap=behind(told_of(b'x', verify=b'\0\0\0\1'), own)),
          UNAUTHORIZED)
    equal(user_of(other, wrap=behind(v2('203.0.113.7'), own)), 'a device', 'it passes TLS on')


# ---- Until it is revoked

def replace(source, place):
    """Both of a pair are new when the broker looks next."""
    shutil.copy(source, f'{place}.new')
    os.replace(f'{place}.new', place)


class Revoking:
    """A listener whose list of the revoked, and authorities, change."""

    def __init__(self, b, name, settings=None, ca='clients-both', crl=None, **listener):
        self.name, self.p = name, pki()
        self.crl, self.ca = self.p.path(f'{name}.crl.pem'), self.p.path(f'{name}.ca.pem')
        shutil.copy(crl or self.p.crl_below(), self.crl)
        shutil.copy(self.p.certificate(ca), self.ca)
        self.b = b.another({**DEBUG, **(settings or {})}, listeners={'named': asking(
            'optional', client_ca=self.ca, crl=self.crl, **listener)})

    def client(self, name, issuer='clients-ca', **connect):
        certificate = f'{self.name}-{name}'
        self.p.issue(certificate, issuer, usage='clientAuth')
        return self.connected(certificate, **connect)

    def connected(self, certificate, **connect):
        return self.b.connected(at='named', wrap=Tls(certificate), **connect)

    def put(self, path, *texts):
        with open(f'{path}.new', 'w', encoding='utf-8') as f:
            f.write(''.join(texts))
        os.replace(f'{path}.new', path)
        self.b.signal(signal.SIGHUP)

    def revoke(self, issuer='clients-ca', *names):
        both = [self.p.revoke(a, *(f'{self.name}-{n}' for n in names if a == issuer))
                for a in ('clients-ca', 'clients-below')]
        self.put(self.crl, *both)


@test(only='dunlin', each=[('clients-ca', '1'), ('clients-below', '4')])
def revoked_client_is_disconnected(b, issuer, shards):
    """At once; its will is published, and nobody else is disturbed."""
    from raw import Will
    r = Revoking(b, f'leaver-{issuer}-{shards}', {'node.shards': shards})
    stays = [r.client(f'stays-{i}', issuer) for i in range(3)]
    other = r.connected('good')
    plain = r.b.connected(at='named', wrap=Tls())
    plain.subscribe('gone')
    leavers = [r.client(f'leaves-{i}', issuer, will=Will('gone', b'%d' % i)) for i in range(3)]
    since = r.b.log_size()
    r.revoke(issuer, *(f'leaves-{i}' for i in range(2)))
    for c in leavers[:2]:
        c.expect_disconnect(UNAUTHORIZED)
    equal({plain.expect_message('gone').payload for _ in range(2)}, {b'0', b'1'})
    for c in (*stays, other, plain, leavers[2]):
        c.ping()
    equal(r.b.counter('certificates_revoked'), 2)
    lines = r.b.events('client_certificate_refused', since)
    equal({line['common_name'] for line in lines}, {f'{r.name}-leaves-{i}' for i in range(2)})
    equal(all('revoked' in line['reason'].lower() for line in lines), True, lines)


@test(only='dunlin', each=[('1',), ('4',)])
def who_is_revoked_between_handshake_and_connect_is_refused(b, shards):
    r = Revoking(b, f'between-{shards}', {'node.shards': shards})
    r.p.issue(f'{r.name}-x', 'clients-ca', usage='clientAuth')
    c = r.b.client(at='named', wrap=Tls(f'{r.name}-x'))
    seen = r.client('seen')
    r.revoke('clients-ca', 'seen', 'x')
    seen.expect_disconnect(UNAUTHORIZED)
    c.send(wire.connect(V5, 'x'))
    c.expect(CONNACK, reason=UNAUTHORIZED)
    c.expect_end()
    equal(r.b.counter('certificates_revoked'), 2)


@test(only='dunlin')
def older_revoked_client_is_disconnected_too(b):
    r = Revoking(b, 'leaver-older')
    r.p.issue('leaver-older-x', 'clients-ca', usage='clientAuth')
    c = r.b.connected(version=V311, at='named', wrap=Tls('leaver-older-x'))
    r.revoke('clients-ca', 'x')
    c.expect_end()


@test(only='dunlin')
def client_of_an_authority_that_is_not_trusted_any_more_is_disconnected(b):
    """Also where another authority has the same name."""
    r = Revoking(b, 'authority')
    p = r.p
    good, below = r.connected('good'), r.connected('below')

    def read(name):
        with open(p.certificate(name), encoding='utf-8') as f:
            return f.read()

    p.issue('authority-new', None, authority=True)
    new = p.revoke('authority-new')
    r.put(r.ca, read('clients-both'), read('authority-new'))  # one more is trusted
    r.put(r.crl, p.revoke('clients-ca'), p.revoke('clients-below'), new)
    p.issue('authority-x', 'authority-new', usage='clientAuth')
    wait_until(lambda: connects(r.b, 'authority-x'), what='its first client')
    good.ping()
    below.ping()

    replace(p.certificate('authority-new'), r.ca)
    r.put(r.crl, new)
    good.expect_disconnect(UNAUTHORIZED)
    below.expect_disconnect(UNAUTHORIZED)
    equal(connects(r.b, 'authority-x'), True)


@test(only='dunlin')
def authority_of_the_same_name_is_another_one(b):
    """Also where it says that its key is the same: the signature tells."""
    r = Revoking(b, 'namesake', ca='clients-ca', crl=pki().crl())
    c = r.client('x')
    r.p.issue('namesake-ca', None, authority=True, common_name='clients-ca',
              key_id=r.p.key_id('clients-ca'))
    replace(r.p.certificate('namesake-ca'), r.ca)
    r.put(r.crl, r.p.revoke('namesake-ca'))
    c.expect_disconnect(UNAUTHORIZED)


def connects(b, certificate):
    try:
        b.connected(at='named', wrap=Tls(certificate)).disconnect()
    except (OSError, Unexpected):
        return False
    return True


@test(only='dunlin')
def same_files_again_disturb_nobody(b):
    r = Revoking(b, 'again')
    clients = [r.connected('good'), r.connected('below')]
    for _ in range(3):
        r.b.signal(signal.SIGHUP)
        for c in clients:
            c.ping()
    equal(r.b.counter('certificates_revoked'), 0)


@test(only='dunlin')
def certificate_too_large_to_be_kept_is_not_good_after_a_change(b):
    """It cannot be checked again; its client may come back, and show it."""
    r = Revoking(b, 'too-large')
    c, other = r.connected(large('too-large')), r.connected('good')
    r.revoke()
    c.expect_disconnect(UNAUTHORIZED)
    other.ping()
    r.connected(large('too-large')).ping()


# ---- Clients that others wrote

@test(only='dunlin')
def mosquitto_pub_is_the_named_client(b):
    other = house(b, user_from='common_name', client_id_from='common_name')
    name = named('named-mosquitto')
    s = mosquitto(other, 'mosquitto_sub', 'named', name, '-d', '-i', name, '-F', 'message %p', '-q', '1',
                  '-t', 'names')
    lines_until(s, 'Subscribed (mid')
    publisher = named('named-publisher')
    finish(mosquitto(other, 'mosquitto_pub', 'named', publisher, '-i', publisher, '-q', '1', '-t',
                     'names', '-m', 'hello'))
    equal(lines_until(s, 'message ')[-1], 'message hello')
    refused = mosquitto(other, 'mosquitto_pub', 'named', publisher, '-i', name, '-q', '1', '-t',
                        'names', '-m', 'x')
    refused.communicate(timeout=20)
    equal(refused.returncode != 0, True)
    equal({line['user_name'] for line in other.events('client_connected')
           if line['client_id'] == line['user_name']}, {name, publisher})


@test(only='dunlin')
def paho_is_given_its_name(b):
    other = house(b, user_from='common_name', client_id_from='common_name')
    name, codes = named('named-paho'), []
    c = paho.Client('', protocol=paho.MQTTv5)
    c.tls_set(pki().certificate('root'), pki().chain(name), pki().key(name))
    c.on_connect = lambda client, data, flags, code, props: codes.append(
        (code.value, props.AssignedClientIdentifier))
    c.connect('localhost', other.at['named'][1])
    c.loop_start()
    wait_until(lambda: codes, what='CONNACK')
    c.disconnect()
    c.loop_stop()
    equal(codes, [(0, name)])
