# SPDX-License-Identifier: Apache-2.0
"""tools/dunlinctl for the tests: run as a program, beside a broker with the API, or on a terminal of its own."""
import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile

from api import Api
from harness import Launch, Unexpected, equal

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
TOOL = os.path.join(ROOT, 'tools', 'dunlinctl')
sys.path.insert(0, os.path.join(ROOT, 'tools'))  # for those who look into it


def written(text):
    with tempfile.NamedTemporaryFile('wb', dir=os.path.abspath(Launch.folder), prefix='ctl-', delete=False) as f:
        f.write(text.encode() if isinstance(text, str) else text)
    return f.name


def environment(url=None, key=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith('DUNLINCTL_')}
    return {**clean, **({'DUNLINCTL_URL': url} if url else {}), **({'DUNLINCTL_KEY_FILE': written(key + '\n')} if key else {})}


def run(line, env, stdin=b''):
    """(status, standard output, standard error)"""
    words = shlex.split(line) if isinstance(line, str) else line
    done = subprocess.run([TOOL, *words], input=stdin, capture_output=True, env=env, check=False, timeout=35)
    if b'Traceback' in done.stderr:
        raise Unexpected(done.stderr.decode())
    return done.returncode, done.stdout, done.stderr.decode()


class Ctl:
    """The tool, beside a broker."""

    def __init__(self, b, settings=None):
        self.api = Api(b, settings)
        self.broker = self.api.broker
        self.url = f'http://127.0.0.1:{self.api.port}'
        self.env = environment(self.url, self.api.keys.admin)

    def raw(self, line, status=0, env=None, stdin=b''):
        got, out, err = run(line, env or self.env, stdin)
        equal(got, status, f'{line}: {err}')
        equal(err == '', status == 0 or out != b'', f'{line}: {err}')
        return out if out or status == 0 else err

    def __call__(self, line, status=0, **more):
        said = self.raw(line, status, **more)
        return said if isinstance(said, str) else said.decode()

    def json(self, line, status=0):
        return json.loads(self('--json ' + line, status))

    def rows(self, line):
        """A table's rows by their columns; no cell of these has two spaces."""
        lines = [re.split(r' {2,}', row.rstrip()) for row in self(line).splitlines()]
        return [dict(zip(lines[0], row, strict=True)) for row in lines[1:]] if lines else []

    def record(self, line):
        return dict(re.split(r' {2,}', row, maxsplit=1) for row in self(line).splitlines())


class Screen:
    """`top` on a terminal of its own."""

    def __init__(self, ctl, term='xterm'):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(TOOL, [TOOL, 'top', '--interval', '0.2'], {**ctl.env, 'COLUMNS': '60', 'LINES': '40', 'TERM': term})
        self.seen, self.term = '', term

    def wait(self, part):
        """Until it has shown that, from now on."""
        self.seen = ''
        while part not in self.seen:
            if not select.select([self.fd], [], [], 20)[0]:
                raise Unexpected(f'{part!r} was not shown, but {self.seen!r}')
            self.seen += os.read(self.fd, 65536).decode()

    def end(self, key):
        """By a key, or a signal."""
        if isinstance(key, bytes):
            os.write(self.fd, key)
        else:
            os.kill(self.pid, key)
        if self.term != 'dumb':
            self.wait('\x1b[?1049l')  # what stood there is back
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
