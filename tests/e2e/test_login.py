# SPDX-License-Identifier: Apache-2.0
"""User names and passwords: who gets in, who does not, what each is told, and what it costs others."""
import os
import signal
import subprocess
import time

from harness import Launch, equal, pass_time, test, wait_until
from pki import pki
from raw import CONNACK, SUBACK, V5, V31, V311, wire
from tls import Tls
from users import QUICK, QUICK_PASSWORD, Users, passwd, path_of
from websocket import Ws

SECONDS = 50
VERSIONS = [(V31,), (V311,), (V5,)]
BAD, UNAUTHORIZED, LIMITED, BUSY = 0x86, 0x87, 0x9F, 0x89
BEFORE_5 = {0: 0, BAD: 4, UNAUTHORIZED: 5, LIMITED: 3, BUSY: 3}

def house(b, users=None, listeners=None, **more):
    """A broker with users: alice, and who else is asked for."""
    users = users or Users(alice='wonderland')
    other = b.another(users.settings(**more), listeners=listeners)
    return other, users


def answer(b, version, at=None, wrap=None, client_id='', **connect):
    """The reason code that a CONNECT gets, of 5.0's."""
    c = b.client(version, at, wrap=wrap)
    c.send(wire.connect(version, client_id, **connect))
    code = c.expect(CONNACK).reason
    if code != 0:
        c.expect_end()
    return code


def expect(b, code, version=V5, **connect):
    equal(answer(b, version, **connect), code if version == V5 else BEFORE_5[code], connect)


# ---- Who gets in

@test(only='dunlin', each=VERSIONS)
def right_password_gets_in_and_wrong_ones_do_not(b, version):
    other, _ = house(b, Users(alice='wonderland', bob=''.join(['b'] * 1000)))
    ids = iter(f'login-{version}-{i}' for i in range(20))
    for user, password, code in (('alice', 'wonderland', 0), ('alice', 'Wonderland', BAD),
                                 ('alice', 'wonderlan', BAD), ('alice', 'wonderland\0x', BAD),
                                 ('alice', '', BAD), ('alice', None, BAD), ('Alice', 'wonderland', BAD),
                                 ('alice ', 'wonderland', BAD), ('carol', 'wonderland', BAD),
                                 ('', '', BAD), ('bob', 'b' * 1000, 0), ('bob', 'b' * 999, BAD)):
        expect(other, code, version, client_id=next(ids), username=user, password=password)
    expect(other, UNAUTHORIZED, version, client_id=next(ids))
    equal(other.counters('logins_accepted')['logins_accepted'], 2)
    equal(other.counters('logins_refused')['logins_refused'], 10)


@test(only='dunlin')
def password_without_a_user_name_is_of_nobody(b):
    """5.0 allows it (3.1.2.9)."""
    other, _ = house(b)
    expect(other, BAD, password='wonderland')


@test(only='dunlin')
def allow_anonymous_lets_those_in_who_claim_nothing(b):
    other, _ = house(b, allow_anonymous='true')
    expect(other, 0)
    expect(other, 0, username='alice', password='wonderland')
    expect(other, BAD, username='alice', password='x')


@test(only='dunlin')
def every_kind_of_hash_is_judged(b):
    users = Users(ours='pass word')
    passwd('--scram', users.path, 'scram', password='pass word')
    subprocess.run(['mosquitto_passwd', '-b', users.path, 'theirs', 'pass word'], check=True,
                   capture_output=True)
    with open(users.path, 'a', encoding='utf-8') as f:
        f.write(f'quick:{QUICK}\n')
    other, _ = house(b, users)
    for user in 'ours', 'scram', 'theirs':
        expect(other, 0, username=user, password='pass word')
        expect(other, BAD, username=user, password='password')
    expect(other, 0, username='quick', password=QUICK_PASSWORD)


@test(only='dunlin')
def what_follows_connect_is_heard_after_it(b):
    """Though the broker is still at the password when it comes; and on the session's own shard."""
    other, _ = house(b)
    for i in range(4):
        c = other.client(V311)
        c.send(wire.connect(V311, f'eager-{i}', username='alice', password='wonderland') +
               wire.subscribe(V311, 1, [('login/eager', 1)]) +
               wire.publish(V311, 'login/eager', b'x') + wire.pingreq())
        c.expect(CONNACK, reason=0)
        c.expect(SUBACK, packet_id=1)
        c.expect_message('login/eager', b'x')


@test(only='dunlin')
def refused_before_a_password_is_looked_at(b):
    """What is wrong with a CONNECT anyway costs nobody a hash; and it says nothing about users."""
    other, _ = house(b)
    c = other.client(V311)
    c.send(wire.connect(V311, 'bad', username='alice', password='wonderland', flags=0xC3))
    c.expect_end()
    equal(other.counters('logins_accepted')['logins_accepted'], 0)


@test(only='dunlin', each=[('tls',), ('ws',)])
def other_transports_log_in_too(b, at):
    listeners = {'tls': {'url': 'tls://{}', 'certificate': pki().chain('server'),
                         'key': pki().key('server')}, 'ws': {'url': 'ws://{}'}}
    other, _ = house(b, listeners=listeners)
    wrap = {'tls': Tls(), 'ws': Ws()}[at]
    for i in range(4):  # of both shards
        expect(other, 0, at=at, wrap=wrap, client_id=f'{at}-{i}', username='alice', password='wonderland')
    expect(other, BAD, at=at, wrap=wrap, username='alice', password='x')
    expect(other, UNAUTHORIZED, at=at, wrap=wrap)


@test(only='dunlin')
def certificate_is_enough_where_it_is_required(b):
    other, _ = house(b, listeners={'mutual': {
        'url': 'tls://{}', 'certificate': pki().chain('server'), 'key': pki().key('server'),
        'client_certificate': 'required', 'client_ca': pki().certificate('clients-ca')}})
    mine = Tls('good')
    expect(other, 0, at='mutual', wrap=mine)
    expect(other, 0, at='mutual', wrap=mine, username='alice', password='wonderland')
    expect(other, BAD, at='mutual', wrap=mine, username='alice', password='x')


@test(only='dunlin')
def clients_of_others_log_in(b):
    other, _ = house(b)
    for password, status in ('wonderland', 0), ('looking-glass', 5):
        run = b.run('mosquitto_pub', '-h', '127.0.0.1', '-p', str(other.port), '-t', 't', '-m', 'x',
                    '-u', 'alice', '-P', password)
        run.communicate(timeout=10 * Launch.slow)
        equal(run.returncode != 0, status != 0, run.returncode)


# ---- The file changes

@test(only='dunlin', timeout=40)
def who_is_taken_out_is_disconnected(b):
    """Within seconds, and nobody else is."""
    other, users = house(b, Users(alice='wonderland', bob='builder', carol='christmas'))
    alice = other.connected(username='alice', password='wonderland')
    bob = other.connected(username='bob', password='builder')
    old = other.connected(version=V311, client_id='carol-old', username='carol', password='christmas')
    since = other.log_size()
    users.remove('bob')
    bob.expect_disconnect(UNAUTHORIZED, timeout=10 * Launch.slow)
    users.set('carol', 'easter')
    old.expect_end(timeout=10 * Launch.slow)
    alice.ping()
    expect(other, BAD, username='bob', password='builder')
    expect(other, BAD, username='carol', password='christmas')
    expect(other, 0, username='carol', password='easter')
    expect(other, 0, username='alice', password='wonderland')
    equal(sorted(e['user_name'] for e in other.events('login_revoked', since)), ['bob', 'carol'])


@test(only='dunlin', timeout=40)
def broken_file_leaves_the_former_in_force(b):
    other, users = house(b)
    alice = other.connected(username='alice', password='wonderland')
    since = other.log_size()
    users.write('alice\n')
    wait_until(lambda: other.events('password_file_refused', since), what='a line about the file')
    pass_time(2.5)
    equal(len(other.events('password_file_refused', since)), 1)
    expect(other, 0, username='alice', password='wonderland')
    users.write('')
    alice.expect_disconnect(UNAUTHORIZED, timeout=10 * Launch.slow)
    expect(other, BAD, username='alice', password='wonderland')


@test(only='dunlin')
def hangup_reads_it_at_once(b):
    other, users = house(b)
    users.set('dave', 'hal')
    since = other.log_size()
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('password_file_read', since), what='the file read again')
    expect(other, 0, username='dave', password='hal')


@test(only='dunlin', each=[('missing', None), ('broken', 'nonsense')])
def bad_file_at_the_start_is_an_end(b, kind, text):
    """Nobody is let in by mistake."""
    path = path_of(f'passwords-{kind}')
    if text is not None:
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
    said = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set',
                           f'auth.password_file={path}'], capture_output=True, text=True,
                          timeout=10 * Launch.slow, check=False)
    equal(said.returncode, 1, said)
    said = said.stderr
    equal('password_file_refused' in said, True, said)


# ---- Guessing, and what it costs

@test(only='dunlin', timeout=60)
def guessing_is_slowed_down(b):
    """Of an address, and of a user; who was in before gets in all the same."""
    other, _ = house(b, Users(alice='wonderland', bob='builder', carol='c'),
                     auth__failures_per_minute=5)
    expect(other, 0, username='alice', password='wonderland')
    for i in range(5):
        expect(other, BAD, username='alice', password=f'guess {i}')
    expect(other, LIMITED, username='alice', password='guess')
    expect(other, LIMITED, V311, client_id='g', username='alice', password='guess')
    expect(other, LIMITED, username='carol', password='c')  # the address
    expect(other, 0, username='alice', password='wonderland')  # remembered
    equal(other.counters('logins_limited')['logins_limited'], 3)
    equal(other.counters('logins_remembered')['logins_remembered'], 1)


@test(only='dunlin', timeout=90)
def many_guesses_hinder_nobody_who_is_connected(b):
    """Hundreds at a time; those beyond the bound are told to come later."""
    other, _ = house(b, auth__failures_per_minute=0, limits__connect_timeout_s=60)
    there = other.connected(username='alice', password='wonderland')
    guessers = []
    for i in range(300):
        c = other.client(V5)
        c.send(wire.connect(V5, f'guess-{i}', username='alice', password=f'guess {i}'))
        guessers.append(c)
    slowest = 0.0
    for _ in range(50):
        begin = time.monotonic()
        there.ping()
        slowest = max(slowest, time.monotonic() - begin)
        time.sleep(0.01)
    equal(slowest < 0.5 * Launch.slow, True, f'{slowest:.2f} s for a ping')
    wait_until(lambda: other.counters('logins_busy')['logins_busy'] > 0, what='a refusal')
    busy = other.counters('logins_busy')['logins_busy']
    equal(busy <= 300 - 50, True, f'{busy} were not judged')
    expect(other, 0, client_id='again', username='alice', password='wonderland')  # remembered


@test(only='dunlin', timeout=60)
def client_may_go_while_it_is_asked(b):
    other, _ = house(b, auth__failures_per_minute=0, limits__connect_timeout_s=60)
    for i in range(15):
        c = other.client(V311)
        c.send(wire.connect(V311, f'gone-{i}', username='alice', password='wonderland'))
        c.close()
    expect(other, 0, client_id='stays', username='alice', password='wonderland')
    wait_until(lambda: other.counters('connections')['connections'] <= 1, timeout=20 * Launch.slow,
               what='the end of the others')


@test(only='dunlin')
def it_ends_while_it_is_asked(b):
    other, _ = house(b, auth__failures_per_minute=0)
    for i in range(60):
        c = other.client(V5)
        c.send(wire.connect(V5, f'ending-{i}', username='alice', password=f'guess {i}'))
    time.sleep(0.05)
    other.signal(signal.SIGTERM)
    begin = time.monotonic()
    equal(other.wait_end(), 0)
    equal(time.monotonic() - begin < 5 * Launch.slow, True, 'it waits for all of them')
    other.check_log()


@test(only='dunlin')
def no_password_is_in_the_log(b):
    other, _ = house(b, log__level='debug')
    since = other.log_size()
    expect(other, 0, username='alice', password='wonderland')
    expect(other, BAD, username='alice', password='tell-nobody')
    line, = wait_until(lambda: [e for e in other.events('connect_refused', since) if e['user_name']],
                       what='a line about it')
    equal((line['user_name'], line['reason']), ('alice', 'Bad User Name or Password'))
    equal([word for word in ('wonderland', 'tell-nobody', 'scrypt') if word in other.log()], [])


@test(only='dunlin', timeout=60)
def unknown_users_take_as_long_as_others(b):
    """As long as any: by the clock nobody learns who is a user. The fastest of some counts, as the
    machine has other things to do."""
    other, _ = house(b, auth__failures_per_minute=0)

    def fastest(user):
        took = []
        for _ in range(7):
            c = other.client(V5)
            begin = time.monotonic()
            c.send(wire.connect(V5, '', username=user, password='wrong'))
            c.expect(CONNACK, reason=BAD)
            took.append(time.monotonic() - begin)
        return min(took)

    known, unknown = fastest('alice'), fastest('mallory')
    equal(0.4 < unknown / known < 2.5, True, f'{known * 1000:.0f} ms, {unknown * 1000:.0f} ms')
