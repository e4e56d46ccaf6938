# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens in the place of the password: which are good, and for how long."""
import os
import signal
import subprocess
import tempfile
import time

from harness import Launch, equal, test, wait_until
from raw import CONNACK, PUBACK, SUBACK, V5, V31, V311, wire
from token_house import Keys, folder, house, key, refused_for
from tokens import ALGS, b64, json_b64, jwks

SECONDS = 21
VERSIONS = [(V31,), (V311,), (V5,)]
BAD, UNAUTHORIZED, LIMITED = 0x86, 0x87, 0x9F
BEFORE_5 = {0: 0, BAD: 4, UNAUTHORIZED: 5, LIMITED: 3}


def expect(b, code, version=V5, at=None, client_id='', **connect):
    """The reason code that a CONNECT gets, of 5.0's."""
    c = b.client(version, at)
    c.send(wire.connect(version, client_id, **connect))
    got = c.expect(CONNACK).reason
    equal(got, code if version == V5 else BEFORE_5[code], connect.get('username'))
    if got != 0:
        c.expect_end()


# ---- Who gets in

@test(only='dunlin', each=VERSIONS)
def good_token_gets_in_and_bad_ones_do_not(b, version):
    mine, other = key(), key()
    house_ = house(b, Keys(mine))
    ids = iter(f'token-{version}-{i}' for i in range(20))
    good = mine.token(sub='alice')
    for user, password, code in ((None, good, 0) if version == V5 else ('alice', good, 0), ('alice', good, 0),
                                 ('bob', good, BAD), ('', good, BAD),
                                 ('alice', other.token(sub='alice'), BAD),
                                 ('alice', mine.token(sub='alice', exp=1), BAD),
                                 ('alice', 'wonderland', BAD), ('alice', good + '.x', BAD)):
        expect(house_, code, version, client_id=next(ids), username=user, password=password)
    expect(house_, UNAUTHORIZED, version, client_id=next(ids))
    equal(house_.counters('logins_accepted')['logins_accepted'], 2)
    equal(house_.counters('logins_refused')['logins_refused'], 6)


@test(only='dunlin', timeout=60)
def every_algorithm_is_verified(b):
    """Those of JWKS by their names; with the same names, none takes another's signature."""
    keys = [key(alg, kid=alg) for alg in ALGS]
    other = house(b, Keys(*keys), auth__failures_per_minute=0)
    for k in keys:
        expect(other, 0, password=k.token(sub='alice'))
    for k, claimed in zip(keys, keys[1:] + keys[:1]):
        expect(other, BAD, password=k.token(header={'alg': claimed.alg}, sub='alice'))
        expect(other, BAD, password=k.token(header={'alg': claimed.alg, 'kid': claimed.kid}, sub='alice'))


@test(only='dunlin')
def algorithm_is_the_keys_and_not_the_tokens(b):
    """RFC 8725, 2.1: none; and HS256 with the public key, which everybody has, as the secret."""
    mine = key('RS256')
    keys = Keys(mine)
    keys.write(mine.pem())
    other = house(b, keys, auth__failures_per_minute=0)
    expect(other, 0, password=mine.token(sub='alice'))
    claims = {'sub': 'alice', 'exp': int(time.time()) + 1000}
    since = other.log_size()
    for alg in 'none', 'NONE', '':
        expect(other, BAD, password=f'{json_b64({"alg": alg})}.{json_b64(claims)}.')
    forger = key('HS256')
    for secret in mine.pem(), mine.pem().strip():
        forger.secret = secret.encode()
        expect(other, BAD, password=forger.token(sub='alice'))
    refused_for(other, '(alg)', since)
    own = key('RS256')
    expect(other, BAD, password=own.token(header={'jwk': own.jwk()}, sub='alice'))


@test(only='dunlin')
def issuer_and_audience_are_those_that_are_asked_for(b):
    mine = key()
    other = house(b, Keys(mine), token__issuer='https://issuer.test', token__audience='mqtt',
                  token__leeway_s=0, auth__failures_per_minute=0)
    good = {'sub': 'alice', 'iss': 'https://issuer.test', 'aud': ['web', 'mqtt']}
    expect(other, 0, password=mine.token(**good))
    since = other.log_size()
    for more, words in (({'aud': 'web'}, '(aud)'), ({'aud': None}, '(aud)'), ({'iss': 'https://x.test'}, '(iss)'),
                        ({'nbf': time.time() + 60}, '(nbf'), ({'exp': None}, 'no end'),
                        ({'exp': time.time() - 1}, 'expired')):
        expect(other, BAD, password=mine.token(**{**good, **more}))
        refused_for(other, words, since)


@test(only='dunlin')
def client_identifier_may_be_bound(b):
    mine = key()
    other = house(b, Keys(mine))
    bound = mine.token(sub='alice', client_id='pump-7')
    expect(other, 0, client_id='pump-7', password=bound)
    expect(other, BAD, client_id='pump-8', password=bound)
    expect(other, BAD, client_id='', password=bound)


@test(only='dunlin')
def user_is_another_claim_where_that_is_asked_for(b):
    mine = key()
    other = house(b, Keys(mine), token__user_claim='email', token__user_name_must_match='false')
    since = other.log_size()
    c = other.connected(username='whoever', password=mine.token(sub='1', email='alice@example.org'))
    expect(other, BAD, username='x', password=mine.token(sub='alice'))
    c.close()
    refused_for(other, 'names no user', since)


@test(only='dunlin')
def passwords_and_tokens_go_together(b):
    """What does not look like a token is for the password file, and judged as slowly as ever."""
    mine = key()
    users = os.path.join(folder(), f'token-users-{os.getpid()}')
    subprocess.run([Launch.program, 'passwd', '--create', users, 'alice'], input=b'wonderland\n', check=True,
                   capture_output=True)
    other = b.another({'auth.password_file': users, 'token.keys_file': Keys(mine).path})
    expect(other, 0, username='alice', password='wonderland')
    expect(other, 0, username='alice', password=mine.token(sub='alice'))
    expect(other, BAD, username='alice', password='eyJhbGciOiJub25lIn0.e30.')
    expect(other, BAD, username='alice', password='a.b.c')
    begin = time.monotonic()
    expect(other, BAD, username='mallory', password='wonderland')
    equal(time.monotonic() - begin > 0.02, True, 'a stranger is told sooner than a user')


@test(only='dunlin')
def clients_of_others_bring_tokens(b):
    mine = key('RS256')
    other = house(b, Keys(mine))
    for token, status in (mine.token(sub='alice'), 0), (key('RS256').token(sub='alice'), 5):
        run = b.run('mosquitto_pub', '-h', '127.0.0.1', '-p', str(other.port), '-t', 't', '-m', 'x',
                    '-u', 'alice', '-P', token)
        run.communicate(timeout=10 * Launch.slow)
        equal(run.returncode != 0, status != 0, run.returncode)


@test(only='dunlin')
def no_token_is_in_the_log(b):
    mine = key('HS256')
    other = house(b, Keys(mine), log__level='debug')
    good = mine.token(sub='alice')
    expect(other, 0, username='alice', password=good)
    since = other.log_size()
    expect(other, BAD, username='alice', password=good[:-4] + 'AAAA')
    refused_for(other, 'signature', since)
    equal([word for word in (*good.split('.'), b64(mine.secret)) if word in other.log()], [])


@test(only='dunlin')
def token_brings_rules_of_its_own(b):
    """Asked before those of the file; a list that is none lets nobody in."""
    mine = key()
    other = house(b, Keys(mine))
    acl = [{'permission': 'allow', 'topic': 'pumps/${username}/#'}, {'permission': 'deny', 'topic': '#'}]
    c = other.connected(password=mine.token(sub='pump-7', acl=acl))
    free = other.connected(password=mine.token(sub='free'))
    c.subscribe('pumps/pump-7/#', qos=1)
    c.send(wire.subscribe(V5, 9, [('pumps/pump-8/#', 1)]))
    equal(c.expect(SUBACK, packet_id=9).reasons, (UNAUTHORIZED,))
    for topic, code in ('pumps/pump-8/x', UNAUTHORIZED), ('pumps/pump-7/x', 0):
        c.send(wire.publish(V5, topic, b'x', qos=1, packet_id=7))
        if code == 0:
            c.expect_message(topic, b'x', qos=1)
        equal(c.expect(PUBACK, packet_id=7).reason, code, topic)
    free.publish('pumps/pump-8/x', b'x', qos=1)
    expect(other, BAD, password=mine.token(sub='pump-7', acl=[{'permission': 'allow', 'topics': '#'}]))


@test(only='dunlin')
def groups_of_a_token_are_groups_of_the_rules(b):
    """As if the file had its user in them; hostile ones widen nothing, and what is no list lets nobody in."""
    mine = key()
    rules = os.path.join(folder(), f'token-acl-{os.getpid()}')
    with open(rules, 'w', encoding='utf-8') as f:
        f.write('group ops alice\ngroup audit\ndeny group=audit publish secret\n'
                'allow group=ops all ops secret ${username}/#\nallow user=audit all user\n')
    other = house(b, Keys(mine), acl__file=rules)

    def may(topics, **claims):
        """The topics that its bearer may publish to."""
        c = other.connected(password=mine.token(**claims))
        answers = []
        for number, topic in enumerate(topics, 1):
            c.send(wire.publish(V5, topic, b'x', qos=1, packet_id=number))
            answers.append(c.expect(PUBACK, packet_id=number).reason < 0x80)
        c.close()
        return [topic for topic, yes in zip(topics, answers) if yes]

    topics = ['ops', 'secret', 'user', 'bob/x', 'alice/x']
    equal(may(topics, sub='alice'), ['ops', 'secret', 'alice/x'])
    equal(may(topics, sub='bob'), [])
    equal(may(topics, sub='bob', groups=['ops']), ['ops', 'secret', 'bob/x'])
    equal(may(topics, sub='bob', groups='web,ops audit'), ['ops', 'bob/x'])
    equal(may(topics, sub='bob', groups=['alice', 'ops,audit', '#', '+', 'OPS', 'user=audit', 'ops\n']), [])
    equal(may(topics, sub='#', groups=['ops']), ['ops', 'secret'])
    since = other.log_size()
    for groups in 7, ['ops', None], [['ops']], {'ops': True}, [''], ['x' * 256], [str(i) for i in range(257)]:
        expect(other, BAD, password=mine.token(sub='bob', groups=groups))
    refused_for(other, 'groups that are none', since)


# ---- For how long

@test(only='dunlin')
def connection_ends_with_its_token(b):
    """5.0 is told why; the others are closed. Who has time left stays."""
    mine = key()
    other = house(b, Keys(mine), token__leeway_s=0)
    stays = other.connected(password=mine.token(sub='alice'))
    since = other.log_size()
    end = int(time.time()) + 2
    new = other.connected(password=mine.token(sub='bob', exp=end))
    old = other.connected(version=V311, client_id='old', username='carol',
                          password=mine.token(sub='carol', exp=end))
    new.ping()
    p = new.expect_disconnect(UNAUTHORIZED, timeout=5 * Launch.slow)
    equal('token has expired' in str(p), True, p)
    equal(time.time() >= end - 1, True, 'it came too soon')
    old.expect_end(timeout=5 * Launch.slow)
    stays.ping()
    wait_until(lambda: len(other.events('login_ended', since)) == 2, what='two lines about it')
    equal(sorted(e['user_name'] for e in other.events('login_ended', since)), ['bob', 'carol'])


@test(only='dunlin')
def leeway_makes_it_longer(b):
    mine = key()
    other = house(b, Keys(mine), token__leeway_s=100)
    c = other.connected(password=mine.token(sub='alice', exp=int(time.time()) - 50))
    c.ping()
    expect(other, BAD, password=mine.token(sub='alice', exp=int(time.time()) - 101))


# ---- Keys change

@test(only='dunlin', timeout=40)
def keys_rotate_while_it_runs(b):
    """The next key comes; the former goes, and with it who came by it."""
    one, two = key('RS256', 'one'), key('ES256', 'two')
    keys = Keys(one)
    other = house(b, keys)
    by_one = other.connected(username='alice', password=one.token(sub='alice'))
    expect(other, BAD, password=two.token(sub='bob'))
    since = other.log_size()
    keys.write(jwks(one, two))
    wait_until(lambda: [e for e in other.events('token_keys_read', since) if e['keys'] == '2'],  # the start's line may come late
               timeout=10, what='the file read again')
    by_two = other.connected(username='bob', password=two.token(sub='bob'))
    by_one.ping()
    keys.write(jwks(two))
    by_one.expect_disconnect(UNAUTHORIZED, timeout=10 * Launch.slow)
    expect(other, BAD, password=one.token(sub='alice'))
    by_two.ping()
    line, = wait_until(lambda: other.events('login_revoked', since), what='a line about it')
    equal((line['user_name'], line['by']), ('alice', 'token'))


@test(only='dunlin')
def broken_file_of_keys_leaves_the_former_in_force(b):
    mine = key(kid='mine')
    keys = Keys(mine)
    other = house(b, keys)
    c = other.connected(password=mine.token(sub='alice'))
    for text in '{"keys": []}', jwks(mine)[:-1], jwks({'kty': 'EC'}):
        keys.write(text)
        since = other.log_size()
        other.signal(signal.SIGHUP)
        wait_until(lambda since=since: other.events('token_keys_refused', since), what='a line about it')
        c.ping()
        expect(other, 0, password=mine.token(sub='alice'))


@test(only='dunlin', each=[('missing', None), ('empty', ''), ('private', 'private')])
def bad_file_of_keys_at_the_start_is_an_end(b, kind, text):
    path = os.path.join(folder(), f'token-keys-{kind}')
    if text is not None:
        with open(path, 'w', encoding='utf-8') as f, open(key('RS256').file, encoding='utf-8') as secret:
            f.write(secret.read() if kind == 'private' else text)
    said = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set',
                           f'token.keys_file={path}'], capture_output=True, text=True,
                          timeout=10 * Launch.slow, check=False)
    equal((said.returncode, 'token_keys_refused' in said.stderr), (1, True), said)


# ---- What it costs others

@test(only='dunlin')
def guessing_is_slowed_down_for_the_address(b):
    """Not for the user: nobody is locked out by others' forgeries, here by one without an address."""
    mine, forger = key(), key()
    with tempfile.TemporaryDirectory(prefix='e2e-unix-') as short:
        other = house(b, Keys(mine), {'unix': {'url': f'unix://{short}/s'}}, auth__failures_per_minute=5)
        for _ in range(8):
            expect(other, BAD, at='unix', username='alice', password=forger.token(sub='alice'))
        expect(other, 0, username='alice', password=mine.token(sub='alice'))
    for _ in range(5):
        expect(other, BAD, username='alice', password=forger.token(sub='alice'))
    expect(other, LIMITED, username='alice', password=mine.token(sub='alice'))
    equal(other.counters('logins_limited')['logins_limited'], 1)


@test(only='dunlin')
def crowd_with_tokens_comes_back_at_once(b):
    """Far more than passwords may wait; all are let in."""
    mine = key('RS256')
    other = house(b, Keys(mine), limits__connect_timeout_s=60)
    good = mine.token(sub='alice')
    crowd = []
    for i in range(300):
        c = other.client(V5)
        c.send(wire.connect(V5, f'crowd-{i}', password=good))
        crowd.append(c)
    for c in crowd:
        c.expect(CONNACK, reason=0)
