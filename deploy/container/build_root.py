#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does what the Dockerfile beside it says, without an engine: in a root file system that debootstrap
makes. For machines that have none, and for tests/deploy/container.py.

    deploy/container/build_root.py OUT [--base FOLDER]

OUT/root is the image's file system, OUT/image.json what is to be started in it, as whom. --base: where
debootstrap's is kept, to be taken the next time. Needs root, debootstrap, and the Debian mirror that apt
uses here. Of the Dockerfile's instructions it knows those that are in it, and refuses others.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.join(HERE, '..', '..')
SUITE = re.compile(r'debian:(\w+)-slim')
KEPT = {'USER': 'user', 'VOLUME': 'volume', 'STOPSIGNAL': 'stop_signal', 'ENTRYPOINT': 'entrypoint', 'CMD': 'cmd',
        'EXPOSE': 'ports'}


def run(*command, **how):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **how)


def instructions():
    with open(os.path.join(HERE, 'Dockerfile'), encoding='utf-8') as f:
        text = f.read().replace('\\\n', ' ')
    for line in text.splitlines():
        if line.strip() and not line.startswith('#'):
            name, _, rest = line.partition(' ')
            yield name, rest.strip()


def new_base(folder, suite):
    """As an engine's debian:…-slim, with the mirror of this machine."""
    sys.stderr.write(f'build_root: debootstrap, {suite}\n')
    run('unshare', '--mount', '--', 'debootstrap', '--variant=minbase', suite, folder, stdout=subprocess.DEVNULL)
    shutil.rmtree(os.path.join(folder, 'etc', 'apt'))
    shutil.copytree('/etc/apt', os.path.join(folder, 'etc', 'apt'), symlinks=True)
    if os.path.isdir('/usr/share/keyrings'):
        shutil.copytree('/usr/share/keyrings', os.path.join(folder, 'usr', 'share', 'keyrings'), dirs_exist_ok=True)


def copy_tree_to(folder):
    """What git has, and what is new: as with .dockerignore."""
    os.makedirs(folder, exist_ok=True)
    files = subprocess.run(['git', '-C', TREE, 'ls-files', '-coz', '--exclude-standard'], check=True,
                           stdout=subprocess.PIPE).stdout
    there = b'\0'.join(name for name in files.split(b'\0') if name and os.path.lexists(os.path.join(TREE.encode(), name)))
    packed = subprocess.run(['tar', '-C', TREE, '-c', '--null', '-T', '-'], input=there, check=True, stdout=subprocess.PIPE)
    subprocess.run(['tar', '-C', folder, '--no-same-owner', '-x'], input=packed.stdout, check=True)


class Stage:
    def __init__(self, root):
        self.root, self.folder = root, '/'

    def inside(self, path):
        return os.path.join(self.root, path.lstrip('/'))

    def run(self, command):
        """In namespaces of its own, so that nothing stays mounted and nothing goes on."""
        sys.stderr.write(f'build_root: RUN {command}\n')
        shutil.copy('/etc/resolv.conf', self.inside('etc/resolv.conf'))
        script = (f'mount --rbind /dev {shlex.quote(self.inside("dev"))}; mount -t proc proc {shlex.quote(self.inside("proc"))}; '
                  f'exec chroot {shlex.quote(self.root)} /bin/sh -c {shlex.quote(f"cd {self.folder} && {command}")}')
        run('unshare', '--mount', '--pid', '--ipc', '--uts', '--fork', '--', 'sh', '-ec', script, stdout=sys.stderr,
            env={'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'DEBIAN_FRONTEND': 'noninteractive',
                 'HOME': '/root', 'LC_ALL': 'C.UTF-8'})


def value_of(rest):
    return json.loads(rest) if rest.startswith('[') else rest


def build(out, base):
    stages, image, stage = {}, {}, None
    for name, rest in instructions():
        if name == 'FROM':
            source, _, alias = rest.partition(' AS ')
            root = os.path.join(out, 'stages', alias) if alias else os.path.join(out, 'root')
            stage = stages[alias] = Stage(root)
            if source == 'scratch':
                os.makedirs(root)
                continue
            if not os.path.exists(base):
                new_base(base, SUITE.fullmatch(source)[1])
            run('cp', '-a', base, root)
        elif name == 'COPY' and rest.startswith('--from='):
            of, source, to = rest.removeprefix('--from=').split()
            run('cp', '-a', stages[of].inside(source) + '/.', stage.inside(to))
        elif name == 'COPY':
            source, to = rest.split()
            assert source == '.', 'only the whole tree is copied'
            copy_tree_to(stage.inside(to))
        elif name == 'WORKDIR':
            stage.folder = rest
        elif name == 'RUN':
            stage.run(rest)
        elif name in KEPT:
            image[KEPT[name]] = value_of(rest)
        else:
            sys.exit(f'build_root: there is no {name} here')
    with open(os.path.join(out, 'image.json'), 'w', encoding='utf-8') as f:
        json.dump(image, f, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out')
    parser.add_argument('--base', help='kept for the next time')
    args = parser.parse_args()
    out = os.path.abspath(args.out)
    os.makedirs(os.path.join(out, 'stages'))
    build(out, os.path.abspath(args.base) if args.base else os.path.join(out, 'base'))


if __name__ == '__main__':
    main()
