# SPDX-License-Identifier: Apache-2.0
"""What the process gives up, and what is not to be found in it (docs/hardening.md)."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from harness import Launch, equal, needs_root, skip, test, wait_until
from pki import pki
from raw import AUTH, CONNACK, V5, wire
from token_house import Keys, house, key
from users import QUICK, QUICK_PASSWORD, Users
from websocket import Ws

SECONDS = 5
NOBODY = 65534
CANARY = 'c4n4ry-Kj3sPq9w'


def of_every_thread(broker, field):
    """The field of each thread's status: a set."""
    tasks = f'/proc/{broker.process.pid}/task'
    found = set()
    for task in os.listdir(tasks):
        with open(f'{tasks}/{task}/status', encoding='utf-8') as f:
            found.add(re.search(rf'^{field}:\t(.*)$', f.read(), re.MULTILINE)[1])
    return found


def needs_plain_memory(broker):
    if broker.sanitized():
        skip('a sanitizer keeps what was freed for a while')


# ---- Another user

@test(only='dunlin', each=[('nobody',), ('nobody:nogroup',), ('65534:65534',)])
def root_becomes_the_user(b, user):
    needs_root()
    other = b.another({'process.user': user})
    equal(of_every_thread(other, 'Uid'), {'\t'.join([str(NOBODY)] * 4)})
    equal(of_every_thread(other, 'Gid'), {'\t'.join([str(NOBODY)] * 4)})
    equal(of_every_thread(other, 'CapEff'), {'0' * 16})
    equal(of_every_thread(other, 'CapPrm'), {'0' * 16})
    other.connected('served').ping()


@test(only='dunlin')
def who_stays_root_is_told(b):
    needs_root()
    other = b.another()
    other.one_event('runs_as_root')


def refused(settings):
    """What a broker that does not start says."""
    command = [Launch.program, '--listen', 'tcp://127.0.0.1:0']
    for key, value in settings.items():
        command += ['--set', f'{key}={value}']
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=20 * Launch.slow, check=False)
    equal(done.returncode, 1, done.stdout)
    return done.stdout


@test(only='dunlin')
def a_user_that_is_not_there(b):
    equal('msg=user_unknown' in refused({'process.user': 'n0b0dy-here'}), True)


@test(only='dunlin')
def files_are_read_as_that_user(b):
    """What could not be read again later is told at the start; and what can be is read again."""
    needs_root()
    folder = tempfile.mkdtemp(dir='/tmp')  # that others may look into
    try:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, 'passwords')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'alice:{QUICK}\n')
        os.chmod(path, 0o600)
        said = refused({'process.user': 'nobody', 'auth.password_file': path})
        equal('Permission denied' in said and path in said, True, said)
        os.chown(path, NOBODY, NOBODY)
        other = b.another({'process.user': 'nobody', 'auth.password_file': path})
        since = other.log_size()
        other.signal(signal.SIGHUP)
        wait_until(lambda: other.events('password_file_read', since), what='the file read again')
    finally:
        shutil.rmtree(folder)


# ---- Calls, memory

@test(only='dunlin')
def calls_that_no_broker_makes(b):
    other = b.another()
    equal(of_every_thread(other, 'NoNewPrivs'), {'1'})
    if not other.sanitized():  # those need some of the calls
        equal(of_every_thread(other, 'Seccomp'), {'2'})
        without = b.another({'process.seccomp': 'false'})
        equal(of_every_thread(without, 'Seccomp'), {'0'})


@test(only='dunlin')
def no_core_file(b):
    other = b.another()
    if other.sanitized():
        skip('a sanitizer needs it to be dumpable')
    with open(f'/proc/{other.process.pid}/limits', encoding='utf-8') as f:
        equal(re.search(r'^Max core file size +(\S+) +(\S+)', f.read(), re.MULTILINE).groups(),
              ('0', '0'))
    equal(os.stat(f'/proc/{other.process.pid}/environ').st_uid, 0)  # root's: it is not dumpable


def memory_has(broker, word):
    """Is the word anywhere in what the process can write?"""
    word = word.encode()
    with open(f'/proc/{broker.process.pid}/maps', encoding='utf-8') as f:
        areas = [line.split() for line in f]
    with open(f'/proc/{broker.process.pid}/mem', 'rb', buffering=0) as memory:
        for area in areas:
            begin, end = (int(n, 16) for n in area[0].split('-'))
            if 'w' not in area[1] or end - begin > 1 << 30:
                continue
            try:
                memory.seek(begin)
                if word in memory.read(end - begin):
                    return True
            except OSError:  # it is the kernel's, or has gone
                continue
    return False


@test(only='dunlin', each=[('right',), ('wrong',), ('in pieces',), ('by WebSocket',)])
def a_password_is_not_kept(b, how):
    users = Users()
    users.write(f'alice:{QUICK}\n')
    other = b.another(users.settings(), listeners={'ws': {'url': 'ws://{}'}})
    needs_root()
    needs_plain_memory(other)
    seen = other.connected('seen', username='alice', password=QUICK_PASSWORD.encode())
    seen.publish('t', b'here-it-is-' + CANARY[::-1].encode(), retain=True, qos=1)
    equal(memory_has(other, 'here-it-is-' + CANARY[::-1]), True, 'a message is not found')
    password = QUICK_PASSWORD if how == 'right' else CANARY
    packet = wire.connect(V5, 'x' * 20, username='alice', password=password.encode())
    c = other.client(at='ws', wrap=Ws()) if how == 'by WebSocket' else other.client()
    for piece in [packet[i:i + 1] for i in range(len(packet))] if how == 'in pieces' else [packet]:
        c.send(piece)
        time.sleep(0.002)
    c.expect(CONNACK)
    equal(memory_has(other, password), False, 'the password is in memory')


@test(only='dunlin', each=[('whole',), ('in pieces',)])
def a_token_is_not_kept(b, how):
    """Of CONNECT, and of AUTH while connected, where other packets are around it."""
    mine = key('HS256')
    other = house(b, Keys(mine))
    needs_root()
    needs_plain_memory(other)
    c = other.client()
    said = {'authentication_method': 'JWT'}
    for i in range(2):
        token = mine.token(sub='alice', jti=f'{i}' * 1000)
        props = {**said, 'authentication_data': token.encode()}
        packet = wire.connect(V5, 'x' * 20, props=props) if i == 0 else \
            wire.publish(V5, 't', b'x' * 100) + wire.auth(0x19, props) + wire.pingreq()
        size = len(packet) if how == 'whole' else len(packet) // 20
        for at in range(0, len(packet), size):
            c.send(packet[at:at + size])
            time.sleep(0.002)
        c.expect(AUTH if i else CONNACK, reason=0)
        equal(memory_has(other, token[-60:]) or memory_has(other, token[60:120]), False,
              'the token is in memory')
