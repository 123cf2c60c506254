"""Other mail systems, Debian's, each in a root directory of its own that
tests/bench/prepare.sh has made below $VEREDUS_PEERS: started there in mount and
process namespaces of their own, never installed here.  Each takes mail for
bench@bench.test into a Maildir and sends all else to one port of 127.0.0.1."""
import fcntl
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
from pathlib import Path

from harness import SRC, free_port, wait_until

PLACE = Path(os.environ.get('VEREDUS_PEERS', Path(os.environ.get('VEREDUS_BUILD', SRC / 'build')) / 'peers'))

POSTFIX = '''compatibility_level = 3.6
myhostname = bench.test
mydestination = bench.test
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{out}
disable_dns_lookups = yes
home_mailbox = Maildir/
alias_maps =
'''

OPENSMTPD = '''listen on 127.0.0.1 port {port} hostname bench.test
action "local" maildir
action "out" relay host smtp://127.0.0.1:{out}
match from any for domain "bench.test" action "local"
match from any for any action "out"
'''

EXIM = '''primary_hostname = bench.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data
host_lookup =
rfc1413_query_timeout = 0s
never_users = root
smtp_accept_queue_per_connection = 0
tls_advertise_hosts =
begin acl
acl_rcpt:
  accept
acl_data:
  accept
begin routers
local:
  driver = accept
  domains = bench.test
  check_local_user
  transport = maildir
unknown:
  driver = redirect
  domains = bench.test
  allow_fail
  data = :fail: no such user here
out:
  driver = manualroute
  transport = remote
  route_list = * 127.0.0.1::{out} byname
  self = send
begin transports
maildir:
  driver = appendfile
  directory = /home/bench/Maildir
  maildir_format
  return_path_add
  user = bench
remote:
  driver = smtp
begin retry
* * F,2h,1m
'''


class Peer:
    def __init__(self, name, out):
        self.name, self.root, self.port = name, PLACE / name, free_port()
        self.lock = open(PLACE / f'{name}.lock', 'w')       # one root directory: one user at a time
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.maildir = self.root / 'home/bench/Maildir/new'
        shutil.rmtree(self.root / 'home/bench/Maildir', ignore_errors=True)
        getattr(self, name)(dict(port=self.port, out=out))

    def sh(self, command):
        subprocess.run(['chroot', str(self.root), 'sh', '-c', command], check=True, stdout=subprocess.DEVNULL)

    def postfix(self, at):
        etc = self.root / 'etc/postfix'
        (etc / 'main.cf').write_text(POSTFIX.format(**at))
        master = (etc / 'master.cf.dist').read_text()
        (etc / 'master.cf').write_text(re.sub(r'^smtp(\s+inet)', rf'127.0.0.1:{self.port}\1', master, flags=re.M))
        self.sh("postconf -F '*/*/chroot=n'; postsuper -d ALL; rm -f /var/spool/postfix/pid/master.pid")
        self.start = 'postfix start; exec sleep 1d'

    def opensmtpd(self, at):
        (self.root / 'etc/smtpd.conf').write_text(OPENSMTPD.format(**at))
        self.sh('rm -rf /var/spool/smtpd/*; mkdir -p /run /var/empty; rm -f /run/smtpd*')
        self.start = 'exec smtpd -F -f /etc/smtpd.conf'

    def exim(self, at):
        (self.root / 'etc/exim4/exim4.conf').write_text(EXIM.format(**at))
        self.sh('cd /var/spool/exim4; rm -rf input msglog db; mkdir input msglog db; mkdir -p /run/exim4; '
                'chown -R Debian-exim:Debian-exim /var/spool/exim4 /var/log/exim4 /run/exim4')
        self.start = 'exec exim4 -bdf -q1m'

    def __enter__(self):
        self.proc = subprocess.Popen(['unshare', '--mount', '--pid', '--fork', '--kill-child',
                                      f'--mount-proc={self.root}/proc', 'chroot', str(self.root), 'sh', '-c',
                                      self.start], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_until(self.answers, f'{self.name} answers')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *a):
        os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        self.lock.close()

    def answers(self):
        assert self.proc.poll() is None
        try:
            with socket.create_connection(('127.0.0.1', self.port), 5) as s:
                s.settimeout(5)
                return s.recv(100).startswith(b'220')
        except OSError:
            return False

    def smtp(self):
        return smtplib.SMTP('127.0.0.1', self.port, local_hostname='client.test', timeout=30)

    def mail(self, count, timeout=60):
        """Exactly `count' messages of bench."""
        def files():
            return list(self.maildir.iterdir()) if self.maildir.is_dir() else []
        wait_until(lambda: len(files()) >= count, f'{count} messages at {self.name}', timeout)
        assert len(files()) == count
        return [f.read_bytes().replace(b'\r\n', b'\n') for f in files()]
