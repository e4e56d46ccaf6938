# SPDX-License-Identifier: Apache-2.0
"""The container image, without an engine: builds it by deploy/container/build_root.py, and starts it as a
runtime would: in namespaces of its own, its root file system read-only, as the user of the image, with no
capability, no new privileges, and the seccomp profile of deploy/kubernetes. Shows how large it is, and
that the broker

  refuses to let the world in as it comes;
  takes processors and memory from the cgroup, and logs JSON;
  can write to its volume alone, and has no shell to be had;
  serves, ends by SIGTERM with 0, and has kept what it acknowledged.

    ./dev check container [--image FOLDER] [--base FOLDER]

--image: what build_root.py has made already. Needs root.
"""
import argparse
import ctypes
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))

from raw import V5, Client  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITIES = 64
MNT_DETACH = 2
PROFILE = os.path.join(ROOT, 'deploy', 'kubernetes', 'seccomp-dunlin.json')
DEVICES = ('null', 'zero', 'random', 'urandom')


# ---- What a runtime does

def checked(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f'{what}: {os.strerror(ctypes.get_errno())}')


def mount(source, target, kind, flags, data=''):
    checked(LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()),
            f'mount {target}')


class Comparison(ctypes.Structure):
    _fields_ = [('arg', ctypes.c_uint), ('op', ctypes.c_int), ('a', ctypes.c_uint64), ('b', ctypes.c_uint64)]


def load_profile(profile, lib):
    """As runc would, for the processor that this is; what this libseccomp has no name for is left out."""
    lib.seccomp_init.restype = ctypes.c_void_p
    actions = {'SCMP_ACT_ALLOW': 0x7fff0000}

    def errno_action(number):
        return 0x00050000 | number

    context = ctypes.c_void_p(lib.seccomp_init(errno_action(profile['defaultErrnoRet'])))
    for rule in profile['syscalls']:
        action = actions.get(rule['action'], errno_action(rule.get('errnoRet', 1)))
        for name in rule['names']:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number < 0:
                continue
            comparisons = (Comparison * 1)()
            for arg in rule.get('args', []):
                assert arg['op'] == 'SCMP_CMP_MASKED_EQ'
                comparisons[0] = Comparison(arg['index'], 7, arg['value'], arg['valueTwo'])
            checked(lib.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(rule.get('args', [])),
                                               comparisons), f'seccomp {name}')
    checked(lib.seccomp_load(context), 'seccomp_load')


class Image:
    def __init__(self, folder):
        self.root = os.path.join(os.path.abspath(folder), 'root')
        with open(os.path.join(folder, 'image.json'), encoding='utf-8') as f:
            self.says = json.load(f)
        self.uid, self.gid = (int(number) for number in self.says['user'].split(':'))

    def bytes(self):
        return sum(os.lstat(os.path.join(folder, name)).st_size
                   for folder, _, names in os.walk(self.root) for name in names)


class Container:
    """One process of the image. `volume` is mounted where the image says, `files` are put in places
    as with a ConfigMap: {place: text}. cgroup: files of its cgroup, as a container sees its own."""

    def __init__(self, image, volume, arguments=None, files=None, cgroup=None):
        self.image, self.volume = image, volume
        self.arguments = image.says['cmd'] if arguments is None else arguments
        self.files, self.cgroup = files or {}, cgroup or {}
        with open(PROFILE, encoding='utf-8') as f:  # now, as its place is not to be seen from inside
            self.profile = json.load(f)
        self.seccomp = ctypes.CDLL('libseccomp.so.2', use_errno=True)
        self.scratch = tempfile.mkdtemp(prefix='dunlin-container-')
        self.log = open(os.path.join(self.scratch, 'log'), 'w+', encoding='utf-8')
        self.process = subprocess.Popen(
            image.says['entrypoint'] + self.arguments, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={'PATH': '/usr/bin', 'HOSTNAME': 'dunlin-0'}, preexec_fn=self._enter)

    def _enter(self):
        try:
            self._become_a_container()
        except BaseException as e:  # which Popen keeps to itself
            os.write(2, f'{type(e).__name__}: {e}\n'.encode())
            os._exit(125)

    def _become_a_container(self):
        """In the child: it becomes the first of its namespaces, and forks once for that of processes."""
        checked(LIBC.unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID), 'unshare')
        inner = os.fork()
        if inner != 0:
            os.closerange(3, 1 << 16)  # Popen waits for the end of one of these
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda n, _: os.kill(inner, n))
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 0xff)
        self._mounts()
        self._give_up()

    def _mounts(self):
        root = os.path.join(self.scratch, 'root')
        os.mkdir(root)
        mount('none', '/', '', MS_REC | MS_PRIVATE)
        mount(self.image.root, root, '', MS_BIND)
        mount(self.volume, root + self.image.says['volume'], '', MS_BIND)
        mount('proc', root + '/proc', 'proc', 0)
        mount('tmpfs', root + '/sys', 'tmpfs', 0)
        os.makedirs(root + '/sys/fs/cgroup')
        for name, text in self.cgroup.items():
            with open(f'{root}/sys/fs/cgroup/{name}', 'w', encoding='utf-8') as f:
                f.write(text)
        mount('tmpfs', root + '/dev', 'tmpfs', 0)
        for name in DEVICES:
            open(f'{root}/dev/{name}', 'w', encoding='utf-8').close()
            mount(f'/dev/{name}', f'{root}/dev/{name}', '', MS_BIND)
        if self.files:
            mount('tmpfs', root + '/etc/dunlin', 'tmpfs', 0)
        for place, text in self.files.items():
            with open(root + place, 'w', encoding='utf-8') as f:
                f.write(text)
            os.chown(root + place, 0, self.image.gid)
        for folder in ('/sys', '/dev', *(['/etc/dunlin'] if self.files else []), ''):
            mount('none', root + folder, '', MS_REMOUNT | MS_BIND | MS_RDONLY)
        os.chdir(root)
        checked(LIBC.pivot_root(b'.', b'.'), 'pivot_root')
        checked(LIBC.umount2(b'.', MNT_DETACH), 'umount')
        os.chdir('/')

    def _give_up(self):
        for capability in range(CAPABILITIES):
            LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # those that there are
        os.setgroups([])
        os.setresgid(self.image.gid, self.image.gid, self.image.gid)
        os.setresuid(self.image.uid, self.image.uid, self.image.uid)
        checked(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), 'pdeathsig')  # it is not left behind
        checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'no_new_privs')
        load_profile(self.profile, self.seccomp)

    def lines(self):
        self.log.flush()
        with open(self.log.name, encoding='utf-8') as f:
            return f.read().splitlines()

    def events(self):
        """Every line has to be JSON."""
        return [json.loads(line) for line in self.lines()]

    def event(self, name, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = [e for e in self.events() if e['msg'] == name]
            if found:
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        sys.exit(f'there is no {name} in\n' + '\n'.join(self.lines()))

    def inner_pid(self):
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children', encoding='utf-8') as f:
            return int(f.read().split()[0])

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        status = self.process.wait(60)
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.scratch)


# ---- What it has to do

def claim(truth, what):
    print(f'{"ok  " if truth else "FAIL"} {what}', flush=True)
    if not truth:
        claim.failed += 1


claim.failed = 0

USERS = 'device:$7$101$AAECAwQFBgcICQoL$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg==\n'
PASSWORD = b'correct horse'
ADDRESS = ('127.0.0.1', 1883)


def configured():
    with open(os.path.join(ROOT, 'deploy', 'container', 'dunlin.yaml'), encoding='utf-8') as f:
        text = f.read() + 'auth:\n  password_file: /etc/dunlin/users\ndrain:\n  wait_s: 1\n'
    return {'/etc/dunlin/dunlin.yaml': text, '/etc/dunlin/users': USERS}


def client(client_id, **how):
    c = Client(ADDRESS, V5)
    c.connack = c.connect(client_id, username='device', password=PASSWORD, **how)
    return c


def is_lean(image):
    names = [name for folder, _, names in os.walk(image.root) for name in names]
    shells = {*names} & {'sh', 'bash', 'dash', 'busybox', 'apt', 'dpkg', 'perl', 'python3'}
    claim(not shells, f'no shell, no package manager: {image.bytes() / 1e6:.1f} MB in {len(names)} files')
    claim((image.uid, image.gid) == (10001, 0), 'user 10001, group 0')
    claim(image.says['entrypoint'] == ['/usr/bin/dunlin'], 'the entry point is the program')


def stays_shut(image, volume):
    c = Container(image, volume)
    status = c.wait()
    claim(status == 1 and any(e['msg'] == 'no_listener' for e in c.events()),
          'as it comes it lets nobody in, says why, and ends')
    c.close()


def http_get(path):
    connection = http.client.HTTPConnection('127.0.0.1', 9464, timeout=10)
    connection.request('GET', path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def gives_up(pid):
    with open(f'/proc/{pid}/status', encoding='utf-8') as f:
        status = dict(line.split(':', 1) for line in f.read().splitlines() if ':' in line)
    claim(set(status['Uid'].split()) == {'10001'} and set(status['Gid'].split()) == {'0'} and status['Groups'].strip() == '',
          'it runs as 10001:0, in no other group')
    claim(all(int(status[name], 16) == 0 for name in ('CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb')), 'it has no capability, and can have none')
    claim(status['NoNewPrivs'].strip() == '1' and status['Seccomp'].strip() == '2', 'no new privileges; seccomp')
    with open(f'/proc/{pid}/mountinfo', encoding='utf-8') as f:
        mounts = {line.split()[4]: line.split()[5].split(',') for line in f}
    writable = sorted(place for place, options in mounts.items() if 'rw' in options and place not in ('/proc', '/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'))
    claim(writable == ['/data'], f'what it can write to: {", ".join(writable)}')


def serves(image, volume):
    cgroup = {'cpu.max': '50000 100000\n', 'memory.max': f'{256 << 20}\n'}
    c = Container(image, volume, files=configured(), cgroup=cgroup)
    started = c.event('started')
    claim((started['shards'], started['message_memory_max']) == (1, 64 << 20),
          'half a processor and 256 MiB of the cgroup: one shard, 64 MiB for messages')
    gives_up(c.inner_pid())
    claim(http_get('/readyz') == (200, 'ready\n'), 'it is ready')
    away = client('away', props={'session_expiry_interval': 600})
    away.subscribe('kept/#', qos=1)
    away.disconnect()
    publisher = client('publisher')
    for i in range(100):
        publisher.publish('kept/t', b'%d' % i, qos=1)
    status = c.end()
    publisher.expect_disconnect(0x8B)
    claim(status == 0, 'SIGTERM: it drains, and ends with 0')
    c.close()

    c = Container(image, volume, files=configured(), cgroup={'cpu.max': 'max 100000\n'})
    c.event('started')
    again = client('away', clean_start=False, props={'session_expiry_interval': 600})
    for i in range(100):
        again.expect_message('kept/t', b'%d' % i)
    claim(again.connack.session_present, 'another container with the same volume: all 100 messages are there')
    again.disconnect()
    claim(c.end() == 0, 'and it ends with 0')
    c.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', help='not used: the image builds its own')
    parser.add_argument('--image', help='made by deploy/container/build_root.py')
    parser.add_argument('--base', help="where debootstrap's root is kept")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit('it needs root')
    with tempfile.TemporaryDirectory(prefix='dunlin-image-') as folder:
        out = args.image or os.path.join(folder, 'out')
        if args.image is None:
            command = [os.path.join(ROOT, 'deploy', 'container', 'build_root.py'), out]
            subprocess.run(command + (['--base', args.base] if args.base else []), check=True)
        checked(LIBC.unshare(CLONE_NEWNET), 'unshare')  # the broker's ports are free here, and stay here
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        image = Image(out)
        volume = os.path.join(folder, 'volume')
        os.mkdir(volume)
        os.chown(volume, image.uid, image.gid)
        is_lean(image)
        stays_shut(image, volume)
        serves(image, volume)
    return 1 if claim.failed else 0


if __name__ == '__main__':
    sys.exit(main())
