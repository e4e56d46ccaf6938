# SPDX-License-Identifier: Apache-2.0
"""Clients that a server of the operator's is asked about (docs/http-callback.md)."""
import base64
import os
import socket
import subprocess
import threading
import time

from asked import Asked
from harness import Launch, equal, pass_time, test, wait_until
from pki import pki
from raw import CONNACK, PUBACK, V5, V31, V311, wire
from users import QUICK, QUICK_PASSWORD, Users

VERSIONS = [(V31,), (V311,), (V5,)]
BAD, AWAY, LIMITED, BUSY = 0x86, 0x88, 0x9F, 0x89
BEFORE_5 = {0: 0, BAD: 4, AWAY: 3, LIMITED: 3, BUSY: 3}
SECONDS = 30


def house(b, answer, settings=None, **server):
    asked = Asked(answer, **server)
    b.open.append(asked)
    other = b.another({'http.url': asked.url(), 'http.remember_s': 0, 'http.timeout_ms': 20000,
                       **(settings or {})})
    asked.questions.clear()  # of whether the broker answers
    asked.connections.clear()
    return other, asked


def connects(other, client_id='who', version=V5, user=None, password=None):
    """The reason of CONNACK; connected, if it is 0."""
    c = other.client(version)
    c.send(wire.connect(version, client_id, username=user, password=password))
    return c.expect(CONNACK).reason, c


def told(version, reason):
    return reason if version == V5 else BEFORE_5[reason]


# ---- What is asked, and what comes of it

@test(only='dunlin', each=VERSIONS)
def it_is_asked_who_the_client_is(b, version):
    other, asked = house(b, {'result': 'allow'})
    equal(connects(other, 'sensor-1', version, 'alice', b'secret')[0], 0)
    question = asked.questions[-1]
    equal(question.pop('address').rpartition(':')[0], '127.0.0.1')
    equal(question, {'client_id': 'sensor-1', 'user_name': 'alice', 'password': 'secret',
                     'listener': f'tcp://127.0.0.1:{other.port}',
                     'protocol_level': {V31: 3, V311: 4, V5: 5}[version]})
    equal(asked.headers[-1]['Content-Type'], 'application/json')


@test(only='dunlin', each=VERSIONS)
def deny_is_no(b, version):
    other, _ = house(b, lambda q: {'result': 'allow' if q.get('user_name') == 'alice' else 'deny'})
    equal(connects(other, 'a', version, 'alice', b'x')[0], 0)
    equal(connects(other, 'b', version, 'bob', b'x')[0], told(version, BAD))
    equal(connects(other, 'n', version)[0], told(version, BAD))


@test(only='dunlin')
def a_password_that_is_no_text_goes_as_base64(b):
    other, asked = house(b, {'result': 'allow'})
    equal(connects(other, 'raw', user='alice', password=b'\xff\x00\x01')[0], 0)
    equal(base64.b64decode(asked.questions[-1]['password_base64']), b'\xff\x00\x01')
    equal('password' in asked.questions[-1], False)


@test(only='dunlin')
def ignore_is_for_the_next(b):
    """It does not know the user; the password file, after it, does."""
    users = Users()
    users.write(f'alice:{QUICK}\n')
    other, asked = house(b, {'result': 'ignore'}, {'auth.methods': 'http, password',
                                                   'auth.password_file': users.path})
    equal(connects(other, 'a', user='alice', password=QUICK_PASSWORD.encode())[0], 0)
    equal(connects(other, 'b', user='alice', password=b'wrong')[0], BAD)
    equal(connects(other, 'c', user='carol', password=b'wrong')[0], BAD)
    equal(len(asked.questions), 3)


@test(only='dunlin')
def the_password_file_comes_first(b):
    """As auth.methods has it: who is in the file is not asked about; who is not, is."""
    users = Users()
    users.write(f'alice:{QUICK}\n')
    other, asked = house(b, {'result': 'allow'}, {'auth.password_file': users.path})
    equal(connects(other, 'a', user='alice', password=QUICK_PASSWORD.encode())[0], 0)
    equal(connects(other, 'b', user='alice', password=b'wrong')[0], BAD)
    equal(asked.questions, [])
    equal(connects(other, 'c', user='carol', password=b'whatever')[0], 0)
    equal(len(asked.questions), 1)


def for_a_second(then):
    """Lets in for one second, and says `then` to who asks again."""
    return lambda q: then if 'again' in q else {'result': 'allow', 'expires_in_s': 1}


@test(only='dunlin', each=[(V311,), (V5,)])
def it_is_asked_again(b, version):
    """When the time is over, without the password; who is allowed again stays, and is not asked about
    any more if no time is given."""
    other, asked = house(b, for_a_second({'result': 'allow'}))
    reason, c = connects(other, 'short', version, 'alice', b'x')
    equal(reason, 0)
    wait_until(lambda: len(asked.questions) == 2, what='to be asked again')
    equal({k: v for k, v in asked.questions[1].items() if k not in ('address', 'listener')},
          {'client_id': 'short', 'user_name': 'alice', 'again': True,
           'protocol_level': {V311: 4, V5: 5}[version]})
    pass_time(1.2)
    c.ping()
    equal((len(asked.questions), other.counter('logins_ended')), (2, 0))


@test(only='dunlin', each=[('deny', {'result': 'deny'}), ('ignore', {'result': 'ignore'}),
                           ('no answer', (500, {}, b''))])
def who_is_not_allowed_again_goes(b, _name, then):
    other, _ = house(b, for_a_second(then), {'auth.failures_per_minute': 1})
    since = other.log_size()
    reason, c = connects(other, 'short', V5, 'alice', b'x')
    equal(reason, 0)
    c.expect_disconnect(0x87)
    equal(other.one_event('login_ended', since)['user_name'], 'alice')
    equal(connects(other, 'other', V5, 'alice', b'x')[0], 0)  # it was no guess


@test(only='dunlin')
def who_goes_while_it_is_asked_again(b):
    may_answer = threading.Event()
    other, asked = house(b, lambda q: ('again' in q and may_answer.wait(20),
                                       {'result': 'allow', 'expires_in_s': 1})[1])
    reason, c = connects(other, 'short', V5, 'alice', b'x')
    equal(reason, 0)
    wait_until(lambda: len(asked.questions) == 2, what='to be asked again')
    c.ping()
    c.close()
    may_answer.set()
    equal(connects(other, 'short', V5, 'alice', b'x')[0], 0)


@test(only='dunlin')
def another_name(b):
    """What the server calls a client, it is asked about again, and the log has it."""
    other, asked = house(b, lambda q: {'result': 'deny'} if 'again' in q else
                         {'result': 'allow', 'user_name': 'tenant-1', 'expires_in_s': 1})
    since = other.log_size()
    reason, c = connects(other, 'named', user='alice', password=b'x')
    equal(reason, 0)
    c.expect_disconnect(0x87)
    equal(other.one_event('login_ended', since)['user_name'], 'tenant-1')
    equal([q['user_name'] for q in asked.questions], ['alice', 'tenant-1'])


# ---- What it may do

def rule(permission, topic, **more):
    return {'permission': permission, 'topic': topic, **more}


def may_publish(c, topic):
    c.send(wire.publish(V5, topic, b'x', qos=1, packet_id=7))
    return c.expect(PUBACK).reason < 0x80


@test(only='dunlin')
def rules_of_its_own(b):
    """Asked before those of the file, which decides on the rest; and they come also where the answer is
    remembered."""
    path = os.path.join(Launch.folder, f'acl-{os.getpid()}')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('allow all file/#\n')
    other, asked = house(b, lambda q: {'result': 'allow', **(
        {'acl': [rule('deny', 'file/secret'), rule('allow', ['own/${username}/#', 'b'])]}
        if q.get('user_name') == 'alice' else {})}, {'acl.file': path, 'http.remember_s': 60})
    for again in range(2):
        reason, alice = connects(other, 'a', user='alice', password=b'x')
        equal(reason, 0)
        equal([may_publish(alice, t) for t in ('file/1', 'file/secret', 'own/alice/1', 'own/bob/1', 'b', 'c')],
              [True, False, True, False, True, False])
        alice.disconnect()
    equal(len(asked.questions), 1)
    _, bob = connects(other, 'b', user='bob', password=b'x')
    equal([may_publish(bob, t) for t in ('file/secret', 'own/bob/1')], [True, False])


@test(only='dunlin')
def other_rules_when_it_is_asked_again(b):
    other, asked = house(b, lambda q: {'result': 'allow', 'acl': [rule('allow', 'after')]} if 'again' in q else
                         {'result': 'allow', 'expires_in_s': 1, 'acl': [rule('allow', 'before')]})
    _, c = connects(other, 'a', user='alice', password=b'x')
    equal([may_publish(c, t) for t in ('before', 'after')], [True, False])
    wait_until(lambda: len(asked.questions) == 2, what='to be asked again')
    wait_until(lambda: may_publish(c, 'after'), what='the other rules')
    equal(may_publish(c, 'before'), False)


# ---- What is no answer

NO_ANSWERS = [
    ('status 500', (500, {}, b'{"result":"allow"}')),
    ('status 404', (404, {}, b'{"result":"allow"}')),
    ('status 204', (204, {}, b'')),
    ('redirect', (302, {'Location': '/elsewhere'}, b'{"result":"allow"}')),
    ('nothing', b''),
    ('no JSON', b'allow'),
    ('JSON and more', b'{"result":"allow"} allow'),
    ('no object', b'["allow"]'),
    ('another word', {'result': 'yes'}),
    ('no result', {}),
    ('result twice', b'{"result":"deny","result":"allow"}'),
    ('what we do not know', {'result': 'allow', 'publish': 'nothing'}),
    ('no name', {'result': 'allow', 'user_name': ''}),
    ('long name', {'result': 'allow', 'user_name': 'x' * 257}),
    ('no time', {'result': 'allow', 'expires_in_s': 0}),
    ('words for a time', {'result': 'allow', 'expires_in_s': 'soon'}),
    ('no rules', {'result': 'allow', 'acl': 'none'}),
    ('a rule with a mistake', {'result': 'allow', 'acl': [{'permission': 'allow', 'topic': 'a/#/b'}]}),
    ('too much', b'{"result":"allow"' + b' ' * 70000 + b'}'),
]


@test(only='dunlin')
def what_is_no_answer(b):
    said = {'now': None}
    other, _ = house(b, lambda _: said['now'], {'auth.failures_per_minute': 0})
    for name, said['now'] in NO_ANSWERS:
        equal((name, connects(other, 'x', user='alice', password=b'x')[0]), (name, AWAY))
    equal(other.counter('http_unclear'), len(NO_ANSWERS))
    said['now'] = {'result': 'allow'}
    equal(connects(other, 'x', user='alice', password=b'x')[0], 0)
    wait_until(lambda: other.events('http_back'))
    equal((len(other.events('http_away')), len(other.events('http_back'))), (1, 1))


@test(only='dunlin', each=VERSIONS)
def a_server_that_is_away(b, version):
    users = Users()
    users.write(f'alice:{QUICK}\n')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        nobody = f'http://127.0.0.1:{s.getsockname()[1]}/'
    other = b.another({'http.url': nobody, 'auth.password_file': users.path})
    equal(connects(other, 'a', version, 'alice', QUICK_PASSWORD.encode())[0], 0)
    equal(connects(other, 'b', version, 'bob', b'x')[0], told(version, AWAY))
    ignoring = b.another({'http.url': nobody, 'http.when_away': 'ignore'})
    equal(connects(ignoring, 'c', version, 'bob', b'x')[0], told(version, BAD))


@test(only='dunlin')
def a_server_that_is_slow_hinders_nobody(b):
    """Who is connected is served as ever; who waits is told after a while; more than may wait are told
    at once."""
    may_answer = threading.Event()

    def slow(question):
        if question['client_id'] not in ('quick', 'e2e-answers'):
            may_answer.wait(20)
        return {'result': 'allow'}

    other, _ = house(b, slow, {'http.timeout_ms': int(500 * Launch.slow), 'http.in_flight_max': 4,
                               'http.waiting_max': 4})
    reason, quick = connects(other, 'quick')
    equal(reason, 0)
    waiting = []
    for i in range(12):
        c = other.client()
        c.send(wire.connect(V5, f'slow-{i}'))
        waiting.append(c)
    begin = time.monotonic()
    for _ in range(20):
        quick.ping()
    equal(time.monotonic() - begin < 0.4 * Launch.slow, True)
    reasons = sorted(c.expect(CONNACK).reason for c in waiting)
    may_answer.set()
    equal(set(reasons), {AWAY, BUSY})
    equal(reasons.count(BUSY) >= 4, True, reasons)


@test(only='dunlin')
def who_goes_meanwhile_is_forgotten(b):
    may_answer = threading.Event()
    other, asked = house(b, lambda q: (q['client_id'] == 'gone' and may_answer.wait(20),
                                       {'result': 'allow'})[1])
    c = other.client()
    c.send(wire.connect(V5, 'gone'))
    wait_until(lambda: asked.questions)
    c.close()
    may_answer.set()
    equal(connects(other, 'there')[0], 0)
    equal(connects(other, 'gone')[0], 0)


@test(only='dunlin')
def it_ends_while_it_asks(b):
    may_answer = threading.Event()
    other, asked = house(b, lambda q: (q['client_id'] == 'asks' and may_answer.wait(20),
                                       {'result': 'allow'})[1], {'http.timeout_ms': 20000})
    c = other.client()
    c.send(wire.connect(V5, 'asks'))
    wait_until(lambda: asked.questions)
    begin = time.monotonic()
    other.stop()
    equal(time.monotonic() - begin < 5 * Launch.slow, True)
    may_answer.set()


# ---- What it costs the server

@test(only='dunlin')
def connections_are_used_again(b):
    other, asked = house(b, {'result': 'allow'}, {'http.in_flight_max': 1})
    for i in range(10):
        equal(connects(other, f'c-{i}')[0], 0)
    equal((len(asked.questions), len(asked.connections)), (10, 1))


@test(only='dunlin')
def answers_are_remembered(b):
    """For the same client with the same password from the same place, and not for ever."""
    other, asked = house(b, {'result': 'allow'}, {'http.remember_s': 1})
    for _ in range(3):
        reason, c = connects(other, 'again', user='alice', password=b'x')
        equal(reason, 0)
        c.disconnect()
    equal(len(asked.questions), 1)
    equal(connects(other, 'again', user='alice', password=b'y')[0], 0)
    equal(connects(other, 'another', user='alice', password=b'x')[0], 0)
    equal(len(asked.questions), 3)
    pass_time(1.1)
    equal(connects(other, 'again', user='alice', password=b'x')[0], 0)
    equal(len(asked.questions), 4)
    equal(other.counter('http_remembered'), 2)


@test(only='dunlin')
def guessing_is_slowed_down(b):
    other, asked = house(b, {'result': 'deny'}, {'auth.failures_per_minute': 3})
    asked.questions.clear()
    reasons = [connects(other, f'g-{i}', user='alice', password=b'%d' % i)[0] for i in range(8)]
    equal(reasons[-1], LIMITED)
    equal(len(asked.questions) <= 3, True, len(asked.questions))


# ---- Secrets, and who the server is

@test(only='dunlin')
def authorization(b):
    path = os.path.join(Launch.folder, f'authorization-{os.getpid()}')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('Bearer c4n4ry\nand no more\n')
    other, asked = house(b, {'result': 'allow'}, {'http.authorization_file': path})
    equal(connects(other, 'a', user='alice', password=b'p4ssw0rd-c4n4ry')[0], 0)
    equal(asked.headers[-1]['Authorization'], 'Bearer c4n4ry')
    asked.answer = (500, {}, b'')
    equal(connects(other, 'b', user='alice', password=b'p4ssw0rd-c4n4ry')[0], AWAY)
    equal('c4n4ry' in other.log(), False, 'a secret is in the log')


@test(only='dunlin')
def https(b):
    """A server that the given authority vouches for, by the name that it is asked by; no other."""
    certificate, key, ca = pki().chain('server'), pki().key('server'), pki().certificate('root')
    _, asked = house(b, {'result': 'allow'}, {'http.ca_file': ca}, certificate=certificate, key=key)
    with_name = {'http.remember_s': 0, 'http.timeout_ms': 20000, 'http.url': asked.url('localhost')}
    for settings, reason in (({**with_name, 'http.ca_file': ca}, 0),
                             (with_name, AWAY),
                             ({**with_name, 'http.ca_file': pki().certificate('strangers-ca')}, AWAY)):
        other = b.another(settings)
        equal(connects(other, 'a', user='alice', password=b'x')[0], reason)


@test(only='dunlin', each=[('no URL', 'http.url=auth.example.org', 'http.url'),
                           ('ftp', 'http.url=ftp://a/', 'http.url'),
                           ('no such file', 'http.authorization_file=/nowhere', '/nowhere')])
def mistakes_are_told(b, _name, setting, word):
    done = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set',
                           'http.url=http://127.0.0.1:1/', '--set', setting], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                          stderr=subprocess.STDOUT, timeout=20 * Launch.slow)
    equal((done.returncode, word in done.stdout), (1, True), done.stdout)
