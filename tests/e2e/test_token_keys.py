# SPDX-License-Identifier: Apache-2.0
"""Keys of tokens that a server has (token.keys_url): they rotate, and the server is away, or talks nonsense."""
import os
import signal
import subprocess
import threading
import time

from asked import Asked
from harness import PORTS, Launch, equal, test, wait_until
from pki import pki
from raw import AUTH, CONNACK, V5, V31, V311, wire
from tokens import Key, jwks

VERSIONS = [(V31,), (V311,), (V5,)]
BAD, UNAUTHORIZED, AWAY = 0x86, 0x87, 0x88
BEFORE_5 = {0: 0, BAD: 4, AWAY: 3}
NOT_SOON = {'token.keys_pause_s': 3600, 'token.keys_refresh_s': 3600}
QUICK = {'token.keys_pause_s': 1}
SECONDS = 22


def key(kid, alg='ES256'):
    return Key(alg, os.path.abspath(Launch.folder), kid)


def server(b, *keys, **how):
    """Of those keys; `answer` may be set to others."""
    s = Asked(jwks(*keys).encode(), **how)
    b.open.append(s)
    return s


def house(b, url, settings=None):
    return b.another({'token.keys_url': url, **QUICK, **(settings or {})})


def begin(b, token, version=V5):
    c = b.client(version)
    c.send(wire.connect(version, '' if version == V5 else f'keys-{time.monotonic_ns()}',
                        username=None if version == V5 else 'alice', password=token))
    return c


def expect(b, code, token, version=V5):
    c = begin(b, token, version)
    equal(c.expect(CONNACK, timeout=5 * Launch.slow).reason, code if version == V5 else BEFORE_5[code])
    return c


def fetched(s, times):
    wait_until(lambda: len(s.questions) >= times, what=f'keys to be fetched {times} times')


# ---- Keys come, and go

@test(only='dunlin', timeout=60)
def keys_rotate_at_the_server(b):
    """A new one is known as soon as somebody comes with it; of one that is not there any more nobody stays. Settings of
    `token` are taken up by a reload here too, by which keys are fetched as well."""
    one, two = key('one'), key('two', 'RS256')
    s = server(b, one)
    other = house(b, s.url())
    by_one = expect(other, 0, one.token(sub='alice'))
    s.answer = jwks(one, two).encode()
    by_two = expect(other, 0, two.token(sub='bob'))
    equal(len(s.questions), 2)
    by_one.ping()
    since = other.log_size()
    s.answer = jwks(two).encode()
    other.signal(signal.SIGHUP)
    p = by_one.expect_disconnect(UNAUTHORIZED, timeout=5 * Launch.slow)
    equal(p.reason, UNAUTHORIZED)
    expect(other, BAD, one.token(sub='alice'))
    by_two.ping()
    expect(other, 0, two.token(sub='bob'))
    line, = wait_until(lambda: other.events('login_revoked', since), what='a line about it')
    equal((line['user_name'], line['by']), ('alice', 'token'))
    counters = other.counters('token_keys_fetched')
    equal((counters['token_keys_fetched'], counters['token_keys_failed']), (len(s.questions), 0))


@test(only='dunlin')
def who_is_connected_renews_by_a_new_key(b):
    """By enhanced authentication, as by a password: it waits for the key, and goes on meanwhile."""
    def props(token):
        return {'authentication_method': 'JWT', 'authentication_data': token.encode()}
    one, two = key('one'), key('two')
    s = server(b, one)
    other = house(b, s.url())
    c = other.client(V5)
    c.send(wire.connect(V5, '', props=props(one.token(sub='alice'))))
    c.expect(CONNACK, reason=0)
    s.answer = jwks(one, two).encode()
    c.send(wire.auth(0x19, props(two.token(sub='alice'))))
    c.expect(AUTH, timeout=5 * Launch.slow, reason=0)
    c.ping()
    equal(other.counters('logins_renewed')['logins_revoked'], 0)


@test(only='dunlin')
def keys_are_fetched_again_by_themselves(b):
    """What has not changed is not read again, and disturbs nobody."""
    one, two = key('one'), key('two')
    s = server(b, one, two)
    other = house(b, s.url(), {'token.keys_refresh_s': 1})
    by_one, by_two = (expect(other, 0, k.token(sub='alice')) for k in (one, two))
    fetched(s, 2)
    s.answer = jwks(two).encode()
    by_one.expect_disconnect(UNAUTHORIZED, timeout=5 * Launch.slow)
    by_two.ping()
    read = wait_until(lambda: other.events('token_keys_read')[1:] and other.events('token_keys_read'),
                      what='a line about the second')
    equal([e['keys'] for e in read], ['2', '1'])


@test(only='dunlin')
def keys_of_a_file_and_of_a_server_go_together(b):
    mine, theirs = key('mine', 'HS256'), key('theirs')
    path = os.path.join(Launch.folder, f'token-keys-both-{os.getpid()}')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(jwks(mine))
    s = server(b, theirs)
    other = house(b, s.url(), {'token.keys_file': path, **NOT_SOON})
    for k, code in (mine, 0), (theirs, 0), (key('mine', 'HS256'), BAD), (key('theirs'), BAD):
        expect(other, code, k.token(sub='alice'))
    s.close()
    alone = house(b, s.url(), {'token.keys_file': path, **NOT_SOON})
    expect(alone, 0, mine.token(sub='alice'))
    expect(alone, BAD, theirs.token(sub='alice'))


# ---- It does not answer, or not as it should

@test(only='dunlin')
def server_that_is_away_at_the_start_is_waited_for(b):
    """Tokens are not called wrong meanwhile; what is no token is."""
    mine, port = key('mine'), PORTS.take()
    other = house(b, f'http://127.0.0.1:{port}/mqtt')
    good = mine.token(sub='alice')
    since = other.log_size()
    waiting = [(version, begin(other, good, version)) for version, in VERSIONS]
    expect(other, BAD, 'wonderland')
    for version, c in waiting:
        equal(c.expect(CONNACK, timeout=5 * Launch.slow).reason, AWAY if version == V5 else BEFORE_5[AWAY])
    equal(other.counter('token_keys_failed') > 0, True)
    b.open.append(Asked(jwks(mine).encode(), port=port))
    wait_until(lambda: begin(other, good).expect(CONNACK, timeout=5 * Launch.slow).reason == 0,
               what='the token to be good', step=0.05)
    other.one_event('token_keys_back', since)
    equal(other.events('token_refused', since), [])


ERROR_PAGE = b'{"keys": [{"kty": "oct", "kid": "mine", "alg": "HS256", "k": "%s"}]}' % (b'A' * 86)


@test(only='dunlin', each=[('status', (404, {}, ERROR_PAGE)), ('elsewhere', (302, {'Location': '/mqtt2'}, ERROR_PAGE)),
                           ('nothing', b''), ('no JSON', b'<html>'), ('no keys', {'keys': []}),
                           ('encryption', {'keys': [{'kty': 'oct', 'alg': 'HS256', 'use': 'enc', 'k': 'A' * 86}]}),
                           ('too large', b'{"keys": [' + b' ' * (256 << 10)), ('deep', b'[' * 100000)])
def what_is_no_set_of_keys(b, _name, answer):
    s = Asked(answer)
    b.open.append(s)
    other = house(b, s.url(), NOT_SOON)
    expect(other, AWAY, key('mine').token(sub='alice'))
    line = other.one_event('token_keys_away')
    equal((line['in_force'], len(s.questions)), ('nothing', 1))


@test(only='dunlin', timeout=60)
def former_keys_stay_in_force(b):
    """While the server talks nonsense. One line says so, and one that it is over."""
    mine, other_one = key('mine'), key('other')
    s = server(b, mine)
    other = house(b, s.url())
    c = expect(other, 0, mine.token(sub='alice'))
    since = other.log_size()
    s.answer = b'{"keys": '
    expect(other, BAD, other_one.token(sub='alice'))
    c.ping()
    expect(other, 0, mine.token(sub='alice'))
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('reloaded', since), what='a reload')
    c.ping()
    expect(other, 0, mine.token(sub='alice'))
    line = other.one_event('token_keys_away', since)
    equal((line['in_force'], 'JSON' in line['reason']), ('what was fetched before', True), line)
    s.answer = jwks(mine, other_one).encode()
    expect(other, 0, other_one.token(sub='alice'))
    c.ping()
    other.one_event('token_keys_back', since)
    counters = other.counters('token_keys_fetched')
    equal(counters['token_keys_failed'] > 0 and counters['token_keys_fetched'] > 1, True, counters)


@test(only='dunlin')
def https_server_has_to_be_vouched_for(b):
    certificate, private, ca = pki().chain('server'), pki().key('server'), pki().certificate('root')
    mine = key('mine')
    s = server(b, mine, certificate=certificate, key=private)
    for settings, code in (({'token.keys_ca_file': ca}, 0), ({}, AWAY),
                           ({'token.keys_ca_file': pki().certificate('strangers-ca')}, AWAY)):
        other = house(b, s.url('localhost'), {**NOT_SOON, **settings})
        expect(other, code, mine.token(sub='alice'))


@test(only='dunlin', each=[('no URL', 'token.keys_url=issuer.example.org'), ('a file', 'token.keys_url=file:///etc/k'),
                           ('nobody is asked', 'auth.methods=password')])
def mistakes_are_told(b, _name, setting):
    done = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set',
                           'token.keys_url=http://127.0.0.1:1/', '--set', setting], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                          stderr=subprocess.STDOUT, timeout=20 * Launch.slow)
    equal((done.returncode, 'token.keys_url' in done.stdout), (1, True), done.stdout)


# ---- Those who hope that it can be kept busy

@test(only='dunlin')
def unknown_keys_by_the_hundred_are_few_requests(b):
    """All are refused, once it is known that there is no such key; those with a good token do not wait for it."""
    mine = key('mine', 'HS256')
    s = server(b, mine)
    other = house(b, s.url(), {'auth.failures_per_minute': 0})
    expect(other, 0, mine.token(sub='alice'))
    may_answer = threading.Event()
    s.answer = lambda _: (may_answer.wait(20), jwks(mine).encode())[1]
    start = time.monotonic()
    crowd = [begin(other, mine.token(header={'kid': f'none-{i}'}, sub='alice')) for i in range(150)]
    fetched(s, 2)
    expect(other, 0, mine.token(sub='alice'))
    may_answer.set()
    for c in crowd:
        equal(c.expect(CONNACK, timeout=10 * Launch.slow).reason, BAD)
    seconds = time.monotonic() - start
    equal(2 <= len(s.questions) <= 2 + seconds, True, f'{len(s.questions)} requests in {seconds:.1f} s')


@test(only='dunlin')
def who_comes_long_before_the_next_request_is_told_at_once(b):
    mine = key('mine')
    s = server(b, mine)
    other = house(b, s.url(), NOT_SOON)
    expect(other, 0, mine.token(sub='alice'))
    start = time.monotonic()
    for _ in range(5):
        expect(other, BAD, key('other', 'HS256').token(sub='alice'))
    equal((len(s.questions), time.monotonic() - start < 2 * Launch.slow), (1, True))
    equal(other.counter('logins_refused'), 5)


@test(only='dunlin')
def broker_ends_while_keys_are_fetched(b):
    """Nobody is let in by keys that have not come."""
    may_answer = threading.Event()
    s = Asked(lambda _: (may_answer.wait(20), b'')[1])
    b.open.append(s)
    other = house(b, s.url(), {'token.keys_timeout_ms': 20000})
    fetched(s, 1)
    c = begin(other, key('mine').token(sub='alice'))
    other.signal(signal.SIGTERM)
    p = c.recv()
    equal(p is None or p.reason in (0x88, 0x89), True, p)
    c.close()
    equal(other.wait_end(), 0)
    may_answer.set()
