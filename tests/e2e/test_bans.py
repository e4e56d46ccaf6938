# SPDX-License-Identifier: Apache-2.0
"""Who is banned: by a list that is changed while the broker runs, or for connecting over and over; and
`dunlin ban`, which changes the list. All of it is ours alone."""
import os
import re
import signal
import stat
import subprocess
import time

from harness import Launch, equal, test, wait_until
from pki import pki
from proxy import v2
from raw import CONNACK, V5, V31, V311, wire

SECONDS = 13
BANNED, ADMINISTRATIVE = 0x8A, 0x98
VERSIONS = [(V31,), (V311,), (V5,)]
A, B = '127.0.0.2', '127.0.0.3'
# Mosquitto's, with few iterations: it costs next to nothing.
QUICK = '$7$101$AAECAwQFBgcICQoL$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg=='
QUICK_PASSWORD = 'correct horse'


def path_of(name):
    return os.path.abspath(os.path.join(Launch.folder, name))


class Bans:
    """A ban list of its own, and `dunlin ban`."""
    made = 0

    def __init__(self, text=''):
        Bans.made += 1
        self.path = path_of(f'bans-{os.getpid()}-{Bans.made}')
        self.write(text)

    def write(self, text):
        with open(f'{self.path}.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(f'{self.path}.new', self.path)

    def read(self):
        with open(self.path, encoding='utf-8') as f:
            return f.read()

    def run(self, verb, *arguments, flags=(), status=0):
        done = subprocess.run([Launch.program, 'ban', verb, *flags, self.path, *arguments],
                              capture_output=True, text=True, check=False)
        equal(done.returncode, status, f'{verb} {arguments}: {done.stderr}')
        return done.stdout if status == 0 else done.stderr

    def add(self, *arguments, **how):
        return self.run('add', *arguments, **how)

    def remove(self, *arguments, **how):
        return self.run('remove', *arguments, **how)


def house(b, bans, listeners=None, **more):
    return b.another({'auth.ban_file': bans.path,
                      **{key.replace('__', '.'): value for key, value in more.items()}},
                     listeners=listeners)


def reload(b):
    """SIGHUP; when this returns the shards have the file as it is now."""
    since = b.log_size()
    b.signal(signal.SIGHUP)
    wait_until(lambda: b.events('reloaded', since), what='a reload')
    b.connected('bans-look').disconnect()


def answer(b, client_id, version=V5, source=None, **connect):
    c = b.client(version, source=source)
    c.send(wire.connect(version, client_id, **connect))
    code = c.expect(CONNACK).reason
    if code != 0:
        c.expect_end()
    else:
        c.disconnect()
    return code


# ---- Who is on the list

@test(only='dunlin', each=VERSIONS)
def banned_client_is_told_so(b, version):
    other = house(b, Bans('client bad\nclient "bad too"\n'))
    for client_id in 'bad', 'bad too':
        equal(answer(other, client_id, version), BANNED if version == V5 else 5, client_id)
    equal(answer(other, 'good', version), 0)
    equal(other.counters('connect_banned')['connect_banned'], 2)


@test(only='dunlin')
def banned_user_is_refused_for_all_passwords(b):
    """A ban is of the user that a client is, not of a name that it claims to have."""
    users = path_of(f'bans-users-{os.getpid()}')
    with open(users, 'w', encoding='utf-8') as f:
        f.write(f'alice:{QUICK}\nbob:{QUICK}\n')
    other = house(b, Bans('user alice\n'), auth__password_file=users)
    equal(answer(other, 'a', username='alice', password=QUICK_PASSWORD), BANNED)
    equal(answer(other, 'a', username='alice', password='x'), 0x86)
    equal(answer(other, 'a', username='bob', password=QUICK_PASSWORD), 0)


@test(only='dunlin')
def banned_client_costs_no_password(b):
    users = path_of(f'bans-users2-{os.getpid()}')
    with open(users, 'w', encoding='utf-8') as f:
        f.write(f'alice:{QUICK}\n')
    other = house(b, Bans('client bad\n'), auth__password_file=users)
    equal(answer(other, 'bad', username='alice', password=QUICK_PASSWORD), BANNED)
    equal(answer(other, 'bad', username='alice', password='x'), BANNED)
    counters = other.counters('logins_refused')
    equal([counters['logins_accepted'], counters['logins_refused']], [0, 0])


@test(only='dunlin')
def banned_addresses_are_closed_before_anything_is_said(b):
    required = {'proxy_protocol': 'required', 'proxy_from': '127.0.0.1'}
    tls = {'certificate': pki().chain('server'), 'key': pki().key('server')}
    other = house(b, Bans(f'address {A}\naddress 203.0.113.0/24\naddress 2001:db8::/32\n'),
                  listeners={'proxy_tls': {'url': 'tls://{}', **required, **tls}})
    other.client(V5, source=A).expect_end()
    other.client(V5, source=B).connect('from-b')
    for source in '203.0.113.7', '2001:db8:1::7':
        s = other.dial('proxy_tls')
        s.sendall(v2(source))
        equal(s.recv(1), b'', source)
    counters = other.counters('connections_banned')
    equal([counters['connections_banned'], counters['handshakes_failed']], [3, 0])


# ---- A list that changes

@test(only='dunlin')
def ban_takes_effect_on_those_who_are_connected(b):
    users = path_of(f'bans-users3-{os.getpid()}')
    with open(users, 'w', encoding='utf-8') as f:
        f.write(f'alice:{QUICK}\n')
    bans = Bans()
    other = house(b, bans, auth__password_file=users, allow_anonymous='true')
    by_id, old, stays = (other.connected('by-id'), other.connected('old', V311),
                         other.connected('stays'))
    by_user = other.connected('by-user', username='alice', password=QUICK_PASSWORD)
    by_address = other.client(V5, source=A)
    by_address.connect('by-address')
    for ban in (('client', 'by-id'), ('client', 'old'), ('user', 'alice'), ('address', f'{A}/31')):
        bans.add(*ban)
    reload(other)
    for c in by_id, by_user, by_address:
        c.expect_disconnect(ADMINISTRATIVE)
    old.expect_end()
    stays.ping()
    equal(other.counters('bans_enforced')['bans_enforced'], 4)
    bans.remove('client', 'by-id')
    reload(other)
    equal(answer(other, 'by-id'), 0)


@test(only='dunlin')
def file_that_changes_is_taken_up_by_itself(b):
    bans = Bans()
    other = house(b, bans)
    c = other.connected('watched')
    bans.add('client', 'watched')
    c.expect_disconnect(ADMINISTRATIVE)
    equal(answer(other, 'watched'), BANNED)


@test(only='dunlin')
def bans_end_when_they_say(b):
    bans = Bans()
    begin = time.monotonic()
    bans.add('client', 'for-a-while', flags=('--for', '2s', '--because', 'a test'))
    other = house(b, bans)
    code = answer(other, 'for-a-while')
    equal(code == BANNED or time.monotonic() - begin > 1, True)
    wait_until(lambda: answer(other, 'for-a-while') == 0, what='the end of a ban', step=0.1)


@test(only='dunlin')
def file_with_a_mistake_leaves_the_former_in_force(b):
    bans = Bans('client bad\n')
    other = house(b, bans)
    bans.write('client worse\nclyent x\n')
    since = other.log_size()
    reload(other)
    event = other.one_event('ban_file_refused', since)
    equal(f'{bans.path}:2: ' in event['error'], True, event['error'])
    equal([answer(other, 'bad'), answer(other, 'worse')], [BANNED, 0])
    os.remove(bans.path)
    reload(other)
    equal(answer(other, 'bad'), BANNED)


@test(only='dunlin')
def broker_does_not_start_with_a_mistake(b):
    bans = Bans('nonsense\n')
    done = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set',
                           f'auth.ban_file={bans.path}'], capture_output=True, text=True,
                          timeout=20 * Launch.slow, check=False)
    equal(done.returncode, 1)
    equal(f'{bans.path}:1: ' in done.stderr, True, done.stderr)


@test(only='dunlin')
def hundred_thousand_bans(b):
    """Read, and read again, while clients connect; and whoever is on it is found."""
    bans = Bans(''.join(f'client device-{i}\naddress 10.{i >> 8}.{i & 255}.0/24\n'
                        for i in range(50000)))
    other = house(b, bans)
    c = other.connected('device-50000')
    equal([answer(other, 'device-0'), answer(other, 'device-49999')], [BANNED, BANNED])
    bans.add('client', 'device-50000')
    reload(other)
    c.expect_disconnect(ADMINISTRATIVE)
    equal([answer(other, 'device-0'), answer(other, 'device-50000')], [BANNED, BANNED])
    equal(answer(other, 'device-50001'), 0)


# ---- Those who connect over and over

@test(only='dunlin', each=VERSIONS)
def client_that_connects_too_often_is_banned_for_a_while(b, version):
    banned = BANNED if version == V5 else 5
    other = b.another({'auth.flapping_connects_per_minute': 3, 'auth.flapping_ban_s': 3600})
    codes = [answer(other, 'flaps', version) for _ in range(3)]
    equal(codes, [0, 0, 0])
    wait_until(lambda: answer(other, 'flaps', version) == banned, what='a ban')
    equal(answer(other, 'flaps', version), banned)
    equal(answer(other, 'flaps', version, source=A), 0, 'the same id from elsewhere')
    equal(answer(other, 'other', version), 0)
    event = other.one_event('client_flapping')
    equal([event['client_id'], event['banned_s']], ['flaps', '3600'])
    equal(other.counters('clients_flapping')['clients_flapping'], 1)


@test(only='dunlin')
def two_who_fight_for_an_id_come_to_rest(b):
    """Mosquitto's clients take over from each other until both are banned, or one is left."""
    other = b.another({'auth.flapping_connects_per_minute': 2, 'auth.flapping_ban_s': 3600})
    for _ in range(2):
        b.run('mosquitto_sub', '-h', '127.0.0.1', '-p', str(other.port), '-i', 'fights', '-t', 't')
    other.wait_counter('clients_flapping', 1)
    equal(other.counter('sessions_taken_over') <= 2, True)


# ---- dunlin ban

@test(only='dunlin')
def command_adds_removes_and_lists(b):
    bans = Bans('# the house\nclient a because it floods\n')
    bans.add('client', 'b c', flags=('--because', 'no reason'))
    bans.add('address', '192.0.2.0/24', flags=('--until', '2020-01-01T00:00:00Z'))
    bans.add('user', 'alice', flags=('--until', '9999-01-01T00:00:00Z'))
    equal(bans.read(), '# the house\nclient a because it floods\nclient "b c" because no reason\n'
                       'address 192.0.2.0/24 until 2020-01-01T00:00:00Z\n'
                       'user alice until 9999-01-01T00:00:00Z\n')
    bans.add('client', 'a')
    equal(bans.run('list').splitlines(), [
        'client a', 'client "b c" because no reason',
        '# over: address 192.0.2.0/24 until 2020-01-01T00:00:00Z',
        'user alice until 9999-01-01T00:00:00Z'])
    bans.remove('client', 'b c')
    bans.remove('address', '192.0.2.0/24')
    equal(bans.read(), '# the house\nclient a\nuser alice until 9999-01-01T00:00:00Z\n')
    equal('no such ban' in bans.remove('client', 'b c', status=1), True)


@test(only='dunlin')
def command_bans_for_a_period(b):
    bans = Bans()
    out = bans.add('client', 'a', flags=('--for', '90m'))
    equal(re.search(r'client a until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ is banned', out) is not None,
          True, out)


@test(only='dunlin')
def command_makes_a_file_of_its_owners(b):
    bans = Bans()
    equal('there is such a file already' in bans.add('client', 'a', flags=('--create',), status=1),
          True)
    os.remove(bans.path)
    equal('--create makes it' in bans.add('client', 'a', status=1), True)
    bans.add('client', '--odd', flags=('--create', '--'))
    equal(bans.read(), 'client --odd\n')
    equal(stat.S_IMODE(os.stat(bans.path).st_mode), 0o600)


@test(only='dunlin', each=[
    ('there is no such flag', ('add', '--forever', 'FILE', 'client', 'a')),
    ('its value is missing', ('add', 'FILE', 'client', 'a', '--for')),
    ('what is to be done', ()), ('what is to be done', ('ad', 'FILE', 'client', 'a')),
    ('FILE KIND VALUE', ('add', 'FILE', 'client')), ('one FILE', ('list',)),
    ('FILE KIND VALUE', ('remove', 'FILE', 'client', 'a', 'b')),
    ('flags are for add', ('remove', '--for', '1h', 'FILE', 'client', 'a')),
    ('has to begin with one', ('add', 'FILE', 'device', 'a')),
    ('no IP address', ('add', 'FILE', 'address', 'localhost')),
    ('the value is empty', ('add', 'FILE', 'user', '')),
    ('do not go together', ('add', '--for', '1h', '--until', '2030-01-01T00:00:00Z', 'FILE', 'user', 'a')),
    ('takes a time', ('add', '--until', '2030-01-01', 'FILE', 'user', 'a')),
    ('a number and', ('add', '--for', '0s', 'FILE', 'user', 'a')),
    ('a number and', ('add', '--for', '5', 'FILE', 'user', 'a')),
    ('a number and', ('add', '--for', '99999999999999999999d', 'FILE', 'user', 'a')),
    ('one line', ('add', '--because', 'a\nclient b', 'FILE', 'user', 'a'))])
def command_says_what_is_wrong(b, told, arguments):
    done = subprocess.run([Launch.program, 'ban', *arguments], capture_output=True, text=True,
                          check=False)
    equal(done.returncode, 2)
    equal(told in done.stderr, True, done.stderr)


@test(only='dunlin')
def list_with_mistakes_is_shown_as_far_as_it_goes(b):
    bans = Bans('client a\nnonsense\n')
    done = subprocess.run([Launch.program, 'ban', 'list', bans.path], capture_output=True, text=True,
                          check=False)
    equal([done.returncode, done.stdout], [1, 'client a\n'])
    equal(f'{bans.path}:2: ' in done.stderr, True, done.stderr)
