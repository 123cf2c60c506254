"""The systems that are measured, each freshly started with an empty queue,
in a cgroup of its own.

Postfix and Exim are Debian's packages, each in a root directory of its own
(prepare.sh), entered by chroot.  Differences that are left, all in Postfix's
favour: it logs to nobody (its root has no /dev/log), while Veredus writes its log
to a file; it flushes no directory, while Veredus flushes those of its spool and of
the mailbox.
"""
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'e2e'))
import harness  # noqa: E402
import peers  # noqa: E402

POSTFIX_CF = """compatibility_level = 3.6
myhostname = bench.test
mydestination = bench.test, localhost
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
home_mailbox = Maildir/
alias_maps = hash:/etc/aliases
message_size_limit = 52428800
mailbox_size_limit = 0
relayhost = [127.0.0.1]:%d
"""
# What an administrator would do for throughput on a small host.
POSTFIX_TUNED = """default_process_limit = 200
local_destination_concurrency_limit = 10
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
max_use = 10000
max_idle = 600s
smtpd_peername_lookup = no
local_header_rewrite_clients =
strict_mailbox_ownership = no
"""


def die(text):
    sys.exit(f'bench: {text}')


class Cgroup:
    """CPU seconds and memory of all processes of a target: cpu.stat of a cgroup
    v2 counts ended children too, and needs no controller."""

    def __init__(self, name):
        mount = next((line.split()[1] for line in open('/proc/mounts') if line.split()[2] == 'cgroup2'), None)
        if mount is None:
            die('no cgroup v2 mount: CPU of ended children could not be counted')
        self.dir = Path(mount) / f'veredus-bench-{os.getpid()}-{name}'
        self.dir.mkdir()

    def enter(self):
        (self.dir / 'cgroup.procs').write_text('0')

    def pids(self):
        return [int(x) for x in (self.dir / 'cgroup.procs').read_text().split()]

    def cpu_seconds(self):
        return int(re.search(r'usage_usec (\d+)', (self.dir / 'cpu.stat').read_text()).group(1)) / 1e6

    def pss_kib(self, comm=None):
        total = 0
        for p in self.pids():
            try:
                if comm and open(f'/proc/{p}/comm').read().strip() != comm:
                    continue
                total += int(re.search(r'^Pss:\s+(\d+)', open(f'/proc/{p}/smaps_rollup').read(), re.M).group(1))
            except (OSError, AttributeError):
                pass
        return total

    def close(self):
        """Kills what is left in it, waits for its end, and removes it."""
        (self.dir / 'cgroup.kill').write_text('1')
        end = time.monotonic() + 10
        while True:
            try:
                self.dir.rmdir()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


def wait_220(port):
    def greeted():
        try:
            with socket.create_connection(('127.0.0.1', port), 5) as s:
                s.settimeout(5)
                if s.recv(100).startswith(b'220'):
                    s.sendall(b'QUIT\r\n')
                    return s.recv(100)
        except OSError:
            pass
        return None
    harness.wait_until(greeted, f'220 on port {port}')


class Rooted:
    """A peer in its own root, in mount and process namespaces of its own."""
    only = None     # workloads; None: all

    def __init__(self, place, name):
        self.root = place / name
        self.home = self.root / 'home/bench'
        self.maildir = self.home / 'Maildir'
        self.version = (place / f'{name}.version').read_text().strip()
        self.rcpt = 'bench@bench.test'
        # The root is not to be shared by two runs at once.
        self.lock = open(place / f'{name}.lock', 'w')

    def directories(self):
        """Where mail is made durable."""
        return [self.spool, self.home]

    def start(self):
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            die(f'{self.root} is in use by another run')
        self.port, self.sink_port = harness.free_port(), harness.free_port()
        shutil.rmtree(self.maildir, ignore_errors=True)
        self.configure()
        self.cgroup = Cgroup(self.name)
        self.child = subprocess.Popen(
            ['unshare', '--mount', '--pid', '--fork', '--kill-child', f'--mount-proc={self.root}/proc',
             'chroot', str(self.root), 'sh', '-c', self.command],
            preexec_fn=self.cgroup.enter, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        wait_220(self.port)

    def queued(self):
        return sum(len(files) for d in self.queues for _, _, files in os.walk(self.spool / d))

    def stop(self):
        self.cgroup.close()
        self.child.wait()
        fcntl.flock(self.lock, fcntl.LOCK_UN)


class Postfix(Rooted):
    queues = ('incoming', 'active', 'deferred', 'hold', 'corrupt')
    command = 'postfix start; sleep 1d'

    def __init__(self, place, tuned):
        super().__init__(place, 'postfix')
        self.name, self.tuned = 'postfix-tuned' if tuned else 'postfix', tuned
        self.spool = self.root / 'var/spool/postfix'

    def configure(self):
        etc = self.root / 'etc/postfix'
        (etc / 'main.cf').write_text(POSTFIX_CF % self.sink_port + (POSTFIX_TUNED if self.tuned else ''))
        m = (etc / 'master.cf.dist').read_text()
        (etc / 'master.cf').write_text(re.sub(r'^smtp(\s+inet)', rf'127.0.0.1:{self.port}\1', m, flags=re.M))
        (self.spool / 'pid/master.pid').unlink(missing_ok=True)
        for d in 'incoming active deferred defer bounce corrupt maildrop hold'.split():
            shutil.rmtree(self.spool / d, ignore_errors=True)
            (self.spool / d).mkdir()
        # Debian chroots the daemons in the spool; here the root is a chroot already.
        for cmd in (['postconf', '-F', '*/*/chroot=n'], ['newaliases'], ['postfix', 'set-permissions']):
            r = subprocess.run(['chroot', str(self.root), *cmd], capture_output=True, text=True)
            if r.returncode and 'set-permissions' not in cmd:    # it misses manuals; wait_220() tells
                die(f'{" ".join(cmd)}: {r.stderr}')


class Exim(Rooted):
    """For one message to many recipients, where it is the one to beat."""
    name, queues = 'exim', ('input',)
    only = frozenset({'fan-1000'})
    command = 'exec exim4 -bdf -q1m'

    def __init__(self, place):
        super().__init__(place, 'exim')
        self.spool = self.root / 'var/spool/exim4'

    def configure(self):
        (self.root / 'etc/exim4/exim4.conf').write_text(peers.EXIM.format(port=self.port, out=self.sink_port))
        for d in self.queues + ('msglog', 'db'):
            shutil.rmtree(self.spool / d, ignore_errors=True)
        subprocess.run(['chroot', str(self.root), 'sh', '-c', 'mkdir -p /run/exim4; chown -R '
                        'Debian-exim:Debian-exim /var/spool/exim4 /var/log/exim4 /run/exim4'], check=True)


class Veredus:
    name, only = 'veredus', None
    hosts = 0       # next hops 127.0.1.1 and so on, instead of one

    def __init__(self, prefix, tmp):
        harness.PREFIX = prefix
        os.environ['VEREDUS_TMP'] = str(tmp)
        self.tmp = tmp
        self.version = subprocess.run(['git', '-C', str(HERE), 'describe', '--always', '--dirty'],
                                      capture_output=True, text=True).stdout.strip()
        self.rcpt = f'bench@{harness.HOST}'

    def directories(self):
        return [self.tmp]

    def start(self):
        self.sink_port = harness.free_port()
        settings = dict(relayhost=f'[127.0.0.1]:{self.sink_port}')
        if self.hosts:
            hops = (f'[127.0.1.{n}]=smtp:[127.0.1.{n}]:{self.sink_port}' for n in range(1, self.hosts + 1))
            settings = dict(transport_maps='inline:{ %s }' % ', '.join(hops))
        self.i = harness.Instance(users=('bench',), smtpd_max_sessions=20000, message_size_limit='50M', **settings)
        self.maildir = self.i.home['bench'] / 'Maildir'
        self.port = self.i.port
        self.cgroup = Cgroup(self.name)
        self.i.start(preexec_fn=self.cgroup.enter)

    def queued(self):
        return len(self.i.queue_files())

    def stop(self):
        self.i.stop()
        self.i.remove()
        self.cgroup.close()
