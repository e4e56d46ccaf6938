# SPDX-License-Identifier: Apache-2.0
"""Password files for the tests, made by `dunlin passwd` or by hand."""
import os
import subprocess

from harness import Launch

# As others made them, and one that costs next to nothing: Mosquitto's with few iterations.
QUICK = '$7$101$AAECAwQFBgcICQoL$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg=='
QUICK_PASSWORD = 'correct horse'


def path_of(name):
    return os.path.abspath(os.path.join(Launch.folder, name))


def passwd(*arguments, password=None):
    subprocess.run([Launch.program, 'passwd', *arguments], check=True, capture_output=True,
                   input=None if password is None else f'{password}\n'.encode())


class Users:
    """A password file of its own."""
    made = 0

    def __init__(self, **users):
        Users.made += 1
        self.path = path_of(f'passwords-{os.getpid()}-{Users.made}')
        if os.path.exists(self.path):
            os.remove(self.path)
        with open(self.path, 'w', encoding='utf-8'):
            pass
        for name, password in users.items():
            self.set(name, password)

    def set(self, name, password):
        passwd(self.path, name, password=password)

    def remove(self, name):
        passwd('--delete', self.path, name)

    def write(self, text):
        with open(f'{self.path}.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(f'{self.path}.new', self.path)

    def settings(self, **more):
        return {'auth.password_file': self.path,
                **{key.replace('__', '.'): value for key, value in more.items()}}
