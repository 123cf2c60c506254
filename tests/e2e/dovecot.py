"""A private Dovecot, out of its packages ($VEREDUS_LOAD): LMTP on a UNIX socket and
on TCP, IMAP to read what came.  It finds its parts below /usr only, so it runs in
a mount namespace of its own, where they lie over the host's.  Accounts: those of
`users', with the password "secret"; "full" has no room left, "broken" a home that
cannot be written to.
"""
import imaplib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness import free_port, wait_until
from load import LOAD

UID = GID = 65534
OVER = 'mount -t overlay overlay -o lowerdir="$0/usr:/usr" /usr && exec "$@"'
CONF = '''
base_dir = {dir}/base
state_dir = {dir}/state
log_path = {dir}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
first_valid_uid = 1
recipient_delimiter = +
auth_username_format = %n
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {dir}/users
}}
userdb {{
  driver = passwd-file
  args = {dir}/users
}}
mail_location = maildir:~/Maildir
mail_plugins = quota
plugin {{
  quota = maildir:User quota
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
'''


class Dovecot:
    def __init__(self, users):
        self.dir = Path(tempfile.mkdtemp(prefix='vdove', dir=os.environ.get('VEREDUS_TMP')))
        self.dir.chmod(0o755)
        self.path, self.port, self.imap_port = str(self.dir / 'base' / 'lmtp'), free_port(), free_port()
        with open(self.dir / 'users', 'w') as f:
            for u in (*users, 'full', 'broken'):
                home = self.dir / 'home' / u
                home.mkdir(parents=True)
                os.chown(home, UID, GID)
                rule = 'userdb_quota_rule=*:storage=1B' if u == 'full' else ''
                f.write(f'{u}:secret:{UID}:{GID}::{home}::{rule}\n')
        self.broken = self.dir / 'home' / 'broken'
        self.broken.chmod(0o500)
        os.chown(self.broken, 0, 0)
        (self.dir / 'conf').write_text(CONF.format(dir=self.dir, imap=self.imap_port, lmtp=self.port))
        self.proc = None

    def start(self):
        with open(self.dir / 'out', 'ab') as out:
            self.proc = subprocess.Popen(['unshare', '-m', 'sh', '-c', OVER, str(LOAD), 'dovecot', '-F', '-c',
                                          str(self.dir / 'conf')], start_new_session=True, stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=out)
        try:
            wait_until(self.answers, 'Dovecot answers')
        except BaseException:
            self.stop()
            raise
        return self

    def answers(self):
        assert self.proc.poll() is None, self.log()
        try:
            imaplib.IMAP4('127.0.0.1', self.imap_port, 5).logout()
            return True
        except (OSError, imaplib.IMAP4.error):
            return False

    def log(self):
        return ''.join(p.read_text(errors='replace') for p in (self.dir / 'out', self.dir / 'log') if p.exists())

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(20)
        self.proc = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *a):
        if self.proc is not None:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def fetch(self, user):
        """All messages of a user, read over IMAP."""
        with imaplib.IMAP4('127.0.0.1', self.imap_port, 30) as i:
            i.login(user, 'secret')
            i.select('INBOX', readonly=True)
            _, [found] = i.search(None, 'ALL')
            return [i.fetch(n, '(BODY.PEEK[])')[1][0][1] for n in found.split()]

    def wait(self, user, count=1):
        wait_until(lambda: len(self.fetch(user)) >= count, f'{count} messages for {user}\n{self.log()[-3000:]}')
        got = self.fetch(user)
        assert len(got) == count
        return got
