# SPDX-License-Identifier: Apache-2.0
"""A newcomer's path: every command of README.md and docs/getting-started.md is run, in the order of the
page, and prints what the page says.

In those pages a block of `sh` is commands, and a block of `text` what they have printed, among other
things, since the block of `text` before. They are typed into one shell, in a network of its own, so
that its ports are free. Two things are otherwise than for a newcomer: `./dev` is a stand-in, whose
`build` has built this run's broker already and whose `run` starts it; and a broker that is started
ends the one before, which is Ctrl-C in the first terminal. The commands of README's table of figures
take minutes each: of those it is seen that there is such a thing.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile

from harness import Launch, Unexpected, equal, needs_root, skip, test, wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
SUBCOMMANDS = ('passwd', 'ban', 'backup', 'restore')
SECONDS = 10
LONG = {'./dev test': 'it is what runs this'}

DEV = '''#!/bin/sh
case $1 in
build) exit 0 ;;
run) shift; exec dunlin "$@" ;;
esac
echo "there is no $1 in this stand-in" >&2
exit 1
'''


def page(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as f:
        return f.read()


def blocks(name):
    """[(kind, text)] of the page's blocks of sh and text."""
    return re.findall(r'^```(sh|text)\n(.*?)^```$', page(name), re.MULTILINE | re.DOTALL)


def commands(text):
    """The block's commands: a here-document and a continued line belong to one."""
    found, end = [], None
    for line in text.splitlines():
        if end is not None or found and found[-1].endswith('\\'):
            found[-1] += '\n' + line
            end = None if line == end else end
            continue
        found.append(line)
        here = re.search(r"<<'(\w+)'", line)
        end = here[1] if here else None
    return [re.sub(r'\s+#.*$', '', c) if '\n' not in c else c for c in found]


def starts_a_broker(command):
    words = command.split()
    return words[:2] == ['./dev', 'run'] or \
        words[0] == 'dunlin' and not (set(words) & {*SUBCOMMANDS, '--check-config'})


class Terminals:
    """Both of the newcomer's, as one shell."""

    def __init__(self, b):
        self.home = tempfile.mkdtemp(prefix='newcomer-', dir=os.path.abspath(Launch.folder))
        program = os.path.join(self.home, 'build', 'release', 'bin', 'dunlin')
        os.makedirs(os.path.dirname(program))
        os.symlink(os.path.abspath(Launch.program), program)
        with open(os.path.join(self.home, 'dev'), 'w', encoding='utf-8') as f:
            f.write(DEV)
        os.chmod(f.name, 0o755)
        self.output, self.broker_log = f'{self.home}/output', f'{self.home}/broker.log'
        self.begun, self.looked_to, self.broker = 0, 0, None
        with open(self.output, 'wb') as out:
            self.shell = subprocess.Popen(
                ['unshare', '--net', '--', 'bash'], cwd=self.home, stdin=subprocess.PIPE, stdout=out,
                stderr=out, text=True, start_new_session=True,
                env={**os.environ, 'PATH': f'{os.path.dirname(program)}:{os.environ["PATH"]}'})
        b.open.append(self)
        self.type('ip link set lo up')

    def said(self):
        with open(self.output, encoding='utf-8', errors='replace') as f:
            return f.read()

    def type(self, command):
        """Returns when it has ended, or when it is in the background; it has to succeed."""
        self.begun += 1
        mark = f'--- {self.begun} ended with '
        self.shell.stdin.write(f'{command}\necho "{mark}$?"\n')
        self.shell.stdin.flush()
        wait_until(lambda: mark in self.said() or self.shell.poll() is not None,
                   30 * Launch.slow, f'the end of {command!r}\n{self.said()[-2000:]}')
        found = re.search(re.escape(mark) + r'(\d+)', self.said())
        equal(found and found[1], '0', f'{command}\n{self.said()[-2000:]}\nIts status')

    def log(self):
        with open(self.broker_log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def start_broker(self, command):
        self.end_broker()
        open(self.broker_log, 'w', encoding='utf-8').close()
        self.type(f'{command} 2>"{self.broker_log}" & BROKER=$!')
        wait_until(lambda: 'msg=started' in self.log(), 20 * Launch.slow,
                   f'the broker of {command!r}\n{self.log()}')
        self.broker = int(re.search(r'msg=started .*pid=(\d+)', self.log())[1])

    def end_broker(self):
        if self.broker is not None:
            os.kill(self.broker, signal.SIGINT)
            self.type('wait $BROKER')
            self.broker = None

    def subscribed(self):
        """How many filters were subscribed to, as the broker's log has it."""
        os.kill(self.broker, signal.SIGUSR1)
        found = re.findall(r'name=subscribe_received value=(\d+)', self.log())
        return int(found[-1]) if found else 0

    def run(self, command):
        if starts_a_broker(command):
            self.start_broker(command)
        elif command.endswith('&'):
            before = self.subscribed()
            self.type(command)
            wait_until(lambda: self.subscribed() > before, what=f'the subscription of {command!r}', step=0.1)
        else:
            self.type(command)

    def expect(self, text):
        for line in text.splitlines():
            wait_until(lambda one=line: f'\n{one}\n' in self.said()[self.looked_to:],
                       what=f'{line!r} in\n{self.said()[self.looked_to:]}')
        self.looked_to = len(self.said())

    def close(self):
        if self.shell.poll() is None:
            os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()
        self.shell.stdin.close()
        shutil.rmtree(self.home)


@test(only='dunlin', timeout=120, full=True, each=[('README.md',), ('docs/getting-started.md',)])
def the_commands_do_what_the_page_says(b, name):
    needs_root()
    for program in ('mosquitto_sub', 'openssl', 'curl', 'ip'):
        if shutil.which(program) is None:
            skip(f'there is no {program}')
    terminals = Terminals(b)
    run = 0
    for kind, text in blocks(name):
        if kind == 'text':
            terminals.expect(text)
            continue
        for command in commands(text):
            if command not in LONG:
                terminals.run(command)
                run += 1
    terminals.end_broker()
    equal(run >= 3, True, f'{run} commands')


@test(only='dunlin')
def every_block_of_the_pages_has_its_kind(_b):
    """So that no command is passed over: what is neither sh nor text is a drawing."""
    for name in ('README.md', 'docs/getting-started.md'):
        for kind, text in re.findall(r'^```(\w*)\n(.*?)^```$', page(name), re.MULTILINE | re.DOTALL):
            looks_like_one = re.search(r'^(\./dev|dunlin|mosquitto_\w+|apt-get) ', text, re.MULTILINE)
            if kind not in ('sh', 'text') and looks_like_one:
                raise Unexpected(f'{name}: a block without sh has commands:\n{text}')


@test(only='dunlin')
def the_commands_for_figures_are_there(_b):
    """`./dev bench …` and `./dev load …`, wherever README.md names them."""
    verbs = re.findall(r'^verb_(\w+)\(\)', page('dev'), re.MULTILINE)
    found = re.findall(r'`\./dev (\w+)((?: [\w.-]+)*)', page('README.md'))
    equal(len(found) > 10, True, found)
    for verb, rest in found:
        equal(verb in verbs, True, f'./dev {verb}')
        first = rest.split()[0] if rest.split() else ''
        if verb == 'load' and first:
            equal(any(os.path.exists(os.path.join(ROOT, 'tests', 'load', first + end)) for end in ('.py', '.sh')), True,
                  f'./dev load {first}')
        if verb == 'bench' and first and not first.startswith('-'):
            equal(os.path.exists(os.path.join(ROOT, 'bench', f'bench_{first}.c')), True, f'./dev bench {first}')
