# SPDX-License-Identifier: Apache-2.0
"""dunlin passwd: files of users, made, changed and checked from the command line. All of it is ours alone."""
import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import pty
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import termios

from harness import Launch, equal, test, wait_until

SECONDS = 16
COMMENTS = '# the house\n\n  # and the garden \n'
SALT = 'MTIzNDU2Nzg'
CHEAP = f'$scrypt$ln=4,r=1,p=1${SALT}$eXUbzuXSKrYboQ3lHPzQqg'


class Files:
    """A folder, and a password file in it that may not be there yet."""

    def __init__(self, text=None):
        self.folder = tempfile.mkdtemp(dir=Launch.folder)
        self.path = os.path.join(self.folder, 'passwords')
        if text is not None:
            self.write(text)

    def write(self, text):
        with open(self.path, 'w', encoding='utf-8', newline='') as f:
            f.write(text)

    def read(self):
        with open(self.path, encoding='utf-8', newline='') as f:
            return f.read()

    def names(self):
        return sorted(os.listdir(self.folder))

    def state(self):
        """Changes with anything that is done to what is in the folder."""
        return [(e.name, e.inode()) for e in sorted(os.scandir(self.folder), key=lambda e: e.name)]

    def hash_of(self, user):
        found = re.findall(rf'^{user}:(.*)$', self.read(), re.MULTILINE)
        equal(len(found), 1, f'lines of {user} in\n{self.read()}')
        return found[0]


def passwd(*arguments, given='', **how):
    """Runs it to its end: (exit status, stdout, stderr)."""
    done = subprocess.run([Launch.program, 'passwd', *arguments], input=given, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=20 * Launch.slow, **how)
    return done.returncode, done.stdout, done.stderr


def works(*arguments, **how):
    status, out, err = passwd(*arguments, **how)
    equal((status, err), (0, ''), f'{arguments}: {out}')
    return out


def fails(*arguments, status=1, **how):
    got, out, err = passwd(*arguments, **how)
    equal(got, status, f'{arguments}: {out}{err}')
    equal(out, '', f'{arguments}, on stdout')
    return err


def skipped(name, why):
    print(f'passwd.{name}: skipped: {why}', flush=True)


# ---- What a hash means, by another implementation

def bare(text):
    return base64.b64decode(text + '=' * (-len(text) % 4), validate=True)


def is_scrypt_of(text, password):
    ln, r, p, salt, digest = re.fullmatch(
        r'\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([\w+/]+)\$([\w+/]+)', text).groups()
    return hashlib.scrypt(password, salt=bare(salt), n=1 << int(ln), r=int(r), p=int(p),
                          maxmem=1 << 27, dklen=32) == bare(digest)


def is_scram_of(text, password):
    count, salt, stored, server = re.fullmatch(
        r'SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)', text).groups()
    salted = hashlib.pbkdf2_hmac('sha256', password, base64.b64decode(salt), int(count))
    client = hmac.digest(salted, b'Client Key', 'sha256')
    return (hashlib.sha256(client).digest() == base64.b64decode(stored) and
            hmac.digest(salted, b'Server Key', 'sha256') == base64.b64decode(server))


# ---- Making and changing

@test(only='dunlin')
def file_is_made_for_its_owner_alone(_b):
    f = Files()
    works('--create', f.path, 'alice', given='sécret\n', umask=0)
    equal(is_scrypt_of(f.hash_of('alice'), 'sécret'.encode()), True)
    equal(stat.S_IMODE(os.stat(f.path).st_mode), 0o600)
    equal(f.names(), ['passwords'])
    equal(works('--check', f.path), 'the password file is valid; users: 1\n')


@test(only='dunlin', each=[('a line',), ('without its end',), ('two',)])
def first_line_of_stdin_is_the_password(_b, name):
    given = {'a line': 'hunter2\n', 'without its end': 'hunter2', 'two': 'hunter2\nhunter3\n'}[name]
    f = Files('')
    works(f.path, 'alice', given=given)
    equal(is_scrypt_of(f.hash_of('alice'), b'hunter2'), True)


@test(only='dunlin')
def blanks_and_others_are_part_of_a_password(_b):
    f = Files('')
    works(f.path, 'alice', given=' a:b#\r\n')
    equal(is_scrypt_of(f.hash_of('alice'), b' a:b#\r'), True)


@test(only='dunlin')
def scram_credential(_b):
    f = Files('')
    works('--scram', f.path, 'alice', given='pencil\n')
    equal(is_scram_of(f.hash_of('alice'), b'pencil'), True)
    works('--check', f.path)
    err = fails('--scram', f.path, 'alice', given='Bleistift für alle\n')
    equal('ASCII' in err, True, err)
    equal(is_scram_of(f.hash_of('alice'), b'pencil'), True, 'as it was')


@test(only='dunlin')
def salts_differ(_b):
    f = Files('')
    for user in 'alice', 'bob':
        works(f.path, user, given='same\n')
    equal(f.hash_of('alice') != f.hash_of('bob'), True)


@test(only='dunlin')
def comments_order_and_mode_stay(_b):
    f = Files(f'{COMMENTS}a:{CHEAP}\r\n b : {CHEAP}\n# end\nnonsense\nc:{CHEAP}')
    os.chmod(f.path, 0o644)
    works(f.path, 'b', given='x\n')
    works(f.path, 'd', given='x\n')
    b, d = f.hash_of('b'), f.hash_of('d')
    equal(f.read(), f'{COMMENTS}a:{CHEAP}\r\nb:{b}\n# end\nnonsense\nc:{CHEAP}\nd:{d}\n')
    works('--delete', f.path, 'b')
    works('--delete', f.path, 'd')
    equal(f.read(), f'{COMMENTS}a:{CHEAP}\r\n# end\nnonsense\nc:{CHEAP}\n')
    equal(stat.S_IMODE(os.stat(f.path).st_mode), 0o644)
    equal(f.names(), ['passwords'])


@test(only='dunlin')
def names_of_any_kind(_b):
    f = Files('')
    for user in 'bob miller', 'Zoë', '-x', "o'neill":
        works('--', f.path, user, given='x\n')
        equal(f'{user}:$scrypt$' in f.read(), True, f.read())
    equal('users: 4' in works('--check', f.path), True)


# ---- What is refused

@test(only='dunlin', each=[
    ('', 'FILE'), ('passwords', 'USER'), ('--check', 'FILE'), ('--check a b', 'one FILE'),
    ('--check --scram a', '--check'), ('--delete --create a b', '--delete'),
    ('--delte a b', 'did you mean --delete?'), ('a b:c', 'colon'), ('a #b', 'comment')])
def bad_command_line(_b, arguments, hint):
    err = fails(*arguments.split(), status=2)
    equal(hint in err, True, f'{hint!r} in {err}')


@test(only='dunlin')
def password_as_an_argument_is_refused_and_not_repeated(_b):
    f = Files('')
    for arguments in (f.path, 'alice', 'hunter2'), ('-hunter2', f.path, 'alice'):
        err = fails(*arguments, status=2)
        equal('hunter2' in err, False, err)
    equal(f.read(), '')


@test(only='dunlin', each=[('none',), ('an empty one',), ('too long',)])
def bad_password_changes_nothing(_b, name):
    given = {'none': '', 'an empty one': '\n', 'too long': 'x' * 1025}[name]
    f = Files(COMMENTS)
    err = fails(f.path, 'alice', given=given)
    equal(len(err.splitlines()), 1, err)
    equal(f.read(), COMMENTS)
    os.unlink(f.path)
    fails('--create', f.path, 'alice', given=given)
    equal(f.names(), [])


@test(only='dunlin')
def longest_password(_b):
    f = Files('')
    works(f.path, 'alice', given='x' * 1024)
    equal(is_scrypt_of(f.hash_of('alice'), b'x' * 1024), True)


@test(only='dunlin')
def missing_and_present_files(_b):
    f = Files()
    for arguments in (f.path, 'alice'), ('--delete', f.path, 'alice'), ('--check', f.path):
        err = fails(*arguments, given='x\n')
        equal(f.path in err and ('no such file' in err or 'No such file' in err), True, err)
    equal('--create' in fails(f.path, 'alice', given='x\n'), True)
    equal(f.names(), [])
    f.write(COMMENTS)
    equal('already' in fails('--create', f.path, 'alice', given='x\n'), True)
    equal("no user 'alice'" in fails('--delete', f.path, 'alice'), True)
    equal(f.read(), COMMENTS)
    equal('not a regular file' in fails(f.folder, 'alice', given='x\n'), True)


@test(only='dunlin')
def mistakes_are_told_with_their_lines(_b):
    f = Files(f'alice:hunter2\n{COMMENTS}hunter3\nbob:{CHEAP}\nbob:{CHEAP}\n:x\nc:$7$1$hunter4$x\n')
    err = fails('--check', f.path)
    equal([int(n) for n in re.findall(rf'^{f.path}:(\d+): ', err, re.MULTILINE)], [1, 5, 7, 8, 9],
          err)
    equal('hunter' in err, False, err)


@test(only='dunlin')
def help_tells_all_flags(_b):
    out = works('--help')
    for flag in '--scram', '--create', '--delete', '--check', '--help':
        equal(flag in out, True, flag)
    done = subprocess.run([Launch.program, '--help'], stdout=subprocess.PIPE, text=True, check=True)
    equal('dunlin passwd' in done.stdout, True, done.stdout)


# ---- Mosquitto's

@test(only='dunlin', each=[('sha512',), ('sha512-pbkdf2',)])
def files_of_mosquitto_are_valid(_b, form):
    tool = shutil.which('mosquitto_passwd')
    if tool is None:
        skipped(f'files_of_mosquitto_are_valid[{form}]', 'there is no mosquitto_passwd here')
        return
    f = Files('')
    for user in 'alice', 'bob', 'carol':
        subprocess.run([tool, '-H', form, '-b', f.path, user, 'secret'], check=True)
    equal('users: 3' in works('--check', f.path), True)
    works(f.path, 'bob', given='x\n')
    works('--delete', f.path, 'carol')
    equal('users: 2' in works('--check', f.path), True)
    equal(f.hash_of('alice').startswith('$6$' if form == 'sha512' else '$7$'), True)


# ---- The terminal

class Terminal:
    """`dunlin passwd` at a terminal of its own."""

    def __init__(self, b, *arguments):
        self.master, self.slave = pty.openpty()
        self.text = b''
        self.process = b.run(Launch.program, 'passwd', *arguments, stdin=self.slave,
                             start_new_session=True, preexec_fn=self._take)
        self.process.stdout.close()
        os.set_blocking(self.master, False)

    def _take(self):
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        for number in signal.SIGINT, signal.SIGQUIT:
            signal.signal(number, signal.SIG_DFL)  # a shell ignores them in the background
        os.dup2(self.slave, 1)
        os.dup2(self.slave, 2)

    def _reads(self, text):
        with contextlib.suppress(BlockingIOError):
            self.text += os.read(self.master, 4096)
        return text in self.text

    def expect(self, text):
        wait_until(lambda: self._reads(text.encode()), what=f'{text!r}')

    def answer(self, question, text):
        self.expect(question)
        os.write(self.master, text)

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def end(self):
        """The exit status; the echo is on again."""
        status = self.process.wait(20 * Launch.slow)
        self._reads(b'')
        equal(self.echoes(), True, 'the echo')
        equal(b'hunter' in self.text, False, self.text)
        os.close(self.master)
        os.close(self.slave)
        return status


@test(only='dunlin')
def terminal_asks_twice_and_shows_nothing(b):
    f = Files('')
    t = Terminal(b, f.path, 'alice')
    t.answer('Password for alice: ', b'hunterx\x7f2\n')
    equal(t.echoes(), False)
    t.answer('again: ', b'hunter2\n')
    t.expect('is added')
    equal(t.end(), 0)
    equal(is_scrypt_of(f.hash_of('alice'), b'hunter2'), True)


@test(only='dunlin', each=[('another',), ('a longer one',), ('none',), ('the end',)])
def terminal_answers_that_differ(b, name):
    second = {'another': b'hunter3\n', 'a longer one': b'hunter22\n', 'none': b'\n',
              'the end': b'\x04'}[name]
    f = Files(COMMENTS)
    t = Terminal(b, f.path, 'alice')
    t.answer('alice: ', b'hunter2\n')
    t.answer('again: ', second)
    t.expect('\n')
    equal(t.end(), 1)
    equal(f.read(), COMMENTS)


@test(only='dunlin', each=[('SIGINT',), ('SIGQUIT',), ('SIGTERM',)])
def interrupted_terminal_echoes_again(b, name):
    key = {'SIGINT': b'\x03', 'SIGQUIT': b'\x1c'}.get(name)
    f = Files(COMMENTS)
    t = Terminal(b, f.path, 'alice')
    t.answer('alice: ', b'hunter2\n')
    t.expect('again: ')
    equal(t.echoes(), False)
    if key is None:
        t.process.send_signal(getattr(signal, name))
    else:
        os.write(t.master, key)
    equal(t.end(), -getattr(signal, name))
    equal(f.read(), COMMENTS)


# ---- In the middle

def bounded(size, action):
    """For a child: files end at that size, and then a write kills it, or fails."""
    def prepare():
        signal.signal(signal.SIGXFSZ, action)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return {'preexec_fn': prepare, 'restore_signals': False}


def large():
    return COMMENTS + ''.join(f'user-{i}:{CHEAP}\n' for i in range(100))


@test(only='dunlin')
def killed_while_it_writes(_b):
    f = Files(large())
    status, *_ = passwd(f.path, 'alice', given='x\n', **bounded(4000, signal.SIG_DFL))
    equal(status, -signal.SIGXFSZ)
    equal(f.read(), large(), 'the old file')
    equal(f.names(), ['.passwords.dunlin', 'passwords'])
    works(f.path, 'alice', given='x\n')
    equal(f.names(), ['passwords'], 'what was left is removed')
    equal('users: 101' in works('--check', f.path), True)


@test(only='dunlin')
def write_that_fails_leaves_the_old_file(_b):
    f = Files(large())
    err = fails(f.path, 'alice', given='x\n', **bounded(4000, signal.SIG_IGN))
    equal('it cannot be written: File too large' in err, True, err)
    equal(f.read(), large())
    equal(f.names(), ['passwords'])
    f = Files()
    fails('--create', f.path, 'alice', given='x\n', **bounded(10, signal.SIG_IGN))
    equal(f.names(), [])


@test(only='dunlin')
def killed_at_any_moment(b):
    """As soon as something is to be seen in the folder; all of the change is there then, or nothing."""
    f = Files(large())
    before = f.read()
    for i in range(20):
        begin = f.state()
        process = b.run(Launch.program, 'passwd', f.path, f'new-{i}', stdin=subprocess.PIPE)
        process.stdin.write('x\n')
        process.stdin.flush()
        while f.state() == begin and process.poll() is None:
            pass
        process.kill()
        process.wait()
        after = f.read()
        if after != before:
            equal(after.startswith(before) and after.endswith('\n') and
                  after.count('\n') == before.count('\n') + 1 and f'new-{i}:' in after, True, after)
        before = after
    works(f.path, 'alice', given='x\n')
    works('--check', f.path)
    equal(f.names(), ['passwords'])


SMALL_DISK = '''
set -e
mount -t tmpfs -o size=16k none "$1"
cp "$2" "$1/passwords"
set +e
cat /dev/zero >"$1/filler" 2>/dev/null
echo x | "$3" passwd "$1/passwords" alice
echo "status=$?"
cmp "$1/passwords" "$2" && ls -A "$1"
rm "$1/filler"
echo x | "$3" passwd "$1/passwords" alice
'''


@test(only='dunlin')
def full_disk_leaves_the_old_file(_b):
    f = Files(f'{COMMENTS}a:{CHEAP}\n')
    disk = os.path.join(f.folder, 'disk')
    os.mkdir(disk)
    for how in ['--mount'], ['--user', '--map-root-user', '--mount']:
        done = subprocess.run(['unshare', *how, 'sh', '-c', SMALL_DISK, 'sh', disk, f.path,
                               Launch.program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if 'status=' in done.stdout:
            break
    else:
        skipped('full_disk_leaves_the_old_file', f'no tmpfs can be mounted: {done.stdout.strip()}')
        return
    equal('it cannot be written: No space left on device\nstatus=1\nfiller\npasswords\n'
          in done.stdout, True, done.stdout)
    equal("user 'alice' is added" in done.stdout, True, done.stdout)


# ---- Two at a time

@test(only='dunlin')
def editors_at_a_time_lose_nothing(b):
    f = Files(COMMENTS)
    editors = []
    for i in range(8):
        process = b.run(Launch.program, 'passwd', f.path, f'user-{i}', stdin=subprocess.PIPE)
        process.stdin.write(f'password {i}\n')
        process.stdin.flush()
        editors.append(process)
    for process in editors:
        equal(process.wait(30 * Launch.slow), 0)
    equal(f.read().startswith(COMMENTS), True)
    for i in range(8):
        equal(is_scrypt_of(f.hash_of(f'user-{i}'), f'password {i}'.encode()), True)
    equal('users: 8' in works('--check', f.path), True)
    equal(f.names(), ['passwords'])


def has_open(process, path):
    folder = f'/proc/{process.pid}/fd'
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f'{folder}/{name}') == path:
                return True
    return False


@contextlib.contextmanager
def waiting_editor(b, f, *arguments, given=''):
    """One that waits for the lock, which the test holds."""
    with open(f.path, 'r+', encoding='utf-8') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = b.run(Launch.program, 'passwd', *arguments, stdin=subprocess.PIPE)
        process.stdin.write(given)
        process.stdin.flush()
        path = os.path.realpath(f.path)
        wait_until(lambda: has_open(process, path), what='the file to be open')
        equal(process.poll(), None, 'it waits')
        yield process


@test(only='dunlin')
def editor_waits_for_another(b):
    """What the other has written meanwhile, under the same name, is not lost."""
    f = Files(f'a:{CHEAP}\n')
    with waiting_editor(b, f, '--delete', f.path, 'a') as process:
        with open(f.path + '.new', 'w', encoding='utf-8') as new:
            new.write(f'{COMMENTS}a:{CHEAP}\nb:{CHEAP}\n')
        os.rename(f.path + '.new', f.path)
    equal(process.wait(20 * Launch.slow), 0)
    equal(f.read(), f'{COMMENTS}b:{CHEAP}\n')


# ---- The password itself

def holds(process, secret):
    """Whether the secret is in memory that the process may write."""
    with open(f'/proc/{process.pid}/maps', encoding='utf-8') as f:
        ranges = [line.split()[:2] for line in f]
    with open(f'/proc/{process.pid}/mem', 'rb', buffering=0) as memory:
        for place, rights in ranges:
            begin, end = (int(x, 16) for x in place.split('-'))
            if rights.startswith('rw') and end - begin < 1 << 28:
                with contextlib.suppress(OSError):
                    if secret in os.pread(memory.fileno(), end - begin, begin):
                        return True
    return False


@test(only='dunlin')
def password_is_gone_from_memory_once_it_is_hashed(b):
    name = 'password_is_gone_from_memory_once_it_is_hashed'
    if b.sanitized():
        skipped(name, 'a sanitizer keeps what it has seen')
        return
    f = Files(COMMENTS)
    user = b'user-whose-name-is-found'
    with waiting_editor(b, f, f.path, user.decode(), given='hunter2-and-more\n') as process:
        try:
            equal(holds(process, user), True, 'the search finds what is there')
            equal(holds(process, b'hunter2-and-more'), False, 'the password is in memory')
        except PermissionError:
            skipped(name, 'its memory may not be read')
    equal(process.wait(20 * Launch.slow), 0)
