# SPDX-License-Identifier: Apache-2.0
"""What the shards wait for the kernel with: io_uring, and epoll where that is refused, as a container's
profile does (docs/io.md). The refusal is real: a seccomp filter that the broker is started under."""
import ctypes
import errno
import os
import struct
import subprocess

from admin import Admin
from harness import LIBC, Launch, equal, skip, test

SECONDS = 3

# The same numbers on every architecture.
IO_URING = (425, 426, 427)
EPOLL_PWAIT2 = (441,)

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
BPF_LOAD, BPF_JUMP_IF_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7fff0000


def refuse(calls, error):
    """What has the calling process and its children refused those system calls."""
    code = [(BPF_LOAD, 0, 0, 0)]  # the call's number
    for i, call in enumerate(calls):
        code.append((BPF_JUMP_IF_EQUAL, len(calls) - i, 0, call))
    code += [(BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW), (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | error)]
    program = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
    head = ctypes.create_string_buffer(struct.pack('HP', len(code), ctypes.addressof(program)))

    def prepare():
        if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
                LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0) != 0:
            os._exit(99)
        return program
    return prepare


def target(path):
    """What a descriptor is; nothing, if it was closed meanwhile."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ''


def rings(broker):
    folder = f'/proc/{broker.process.pid}/fd'
    return sum('io_uring' in target(os.path.join(folder, fd)) for fd in os.listdir(folder))


def works(broker):
    """Small and large messages to a client that is there, and to one that comes back."""
    receiver = broker.connected('io-receiver', props={'session_expiry_interval': 100})
    receiver.subscribe('io/#', qos=1)
    sender = broker.connected('io-sender')
    large = bytes(1000000)
    for payload in (b'small', large):
        sender.publish('io/t', payload, qos=1)
        receiver.expect_message('io/t', payload)
    receiver.disconnect()
    sender.publish('io/t', b'later', qos=1)
    again = broker.connected('io-receiver', clean_start=False,
                             props={'session_expiry_interval': 100})
    again.expect_message('io/t', b'later')


def backend(b, wanted, prepare=None, settings=None):
    """A broker with that process.io, and what its metrics and its log say that it uses."""
    admin = Admin(b, {'process.io': wanted, 'node.shards': 2, **(settings or {})}, prepare=prepare)
    used = admin.broker.one_event('started')['io']
    equal(admin.value('dunlin_io_backend', backend=used), 1.0)
    return admin.broker, used


@test(only='dunlin', each=[('EPERM',), ('ENOSYS',)])
def refused_it_is_replaced_and_told_once(b, error):
    broker, used = backend(b, 'auto', refuse(IO_URING, getattr(errno, error)))
    equal(used, 'epoll')
    said = broker.one_event('io_uring_refused')
    equal(said['level'], 'warning')
    for word in ('seccomp', 'io_uring_setup', 'io_uring_enter', 'io_uring_register', 'docs/io.md'):
        equal(word in said['remedy'], True, f'{word} in {said["remedy"]!r}')
    works(broker)


@test(only='dunlin')
def a_profile_that_is_older_than_the_kernel(b):
    """It refuses io_uring and, not knowing it, the wait with nanoseconds."""
    broker, used = backend(b, 'auto', refuse(IO_URING + EPOLL_PWAIT2, errno.EPERM))
    equal(used, 'epoll')
    works(broker)


@test(only='dunlin')
def asked_for_and_refused_it_does_not_start(b):
    done = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set',
                           'process.io=io_uring'], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=20 * Launch.slow, preexec_fn=refuse(IO_URING, errno.EPERM))
    equal(done.returncode, 1, done.stdout)
    for word in ('start_failed', 'process.io', 'seccomp', 'Operation not permitted'):
        equal(word in done.stdout, True, f'{word} in {done.stdout!r}')


@test(only='dunlin')
def epoll_by_configuration(b):
    broker, used = backend(b, 'epoll')
    equal(used, 'epoll')
    equal(rings(broker), 0)
    equal(broker.events('io_uring_refused'), [])
    works(broker)


@test(only='dunlin', each=[('auto',), ('io_uring',)])
def io_uring_where_it_is_permitted(b, wanted):
    broker, used = backend(b, wanted)
    if broker.events('io_uring_refused'):
        skip('it is refused here')
    equal(used, 'io_uring')
    equal(rings(broker), 2)
    works(broker)


@test(only='dunlin')
def an_idle_connection_holds_no_buffer(b):
    """Nor does one that has said something: a thousand of them take as much before and after each has
    sent 16 KB."""
    broker, _ = backend(b, 'epoll')
    if broker.sanitized():
        skip('a sanitizer keeps what was freed')
    clients = [broker.connected(f'idle-{i}') for i in range(1000)]
    before = broker.status('RssAnon')
    for c in clients:
        c.publish('nobody/wants', bytes(16000), qos=1)
    grown = broker.status('RssAnon') - before
    equal(grown < 4096, True, f'{grown} KiB more')
