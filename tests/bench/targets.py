"""The systems that are measured, each freshly started with an empty queue,
in a cgroup of its own.

Postfix and Exim are Debian's packages, each in a root directory of its own
(prepare.sh), entered by chroot.  Differences that are left, all in Postfix's
favour: it logs to nobody (its root has no /dev/log), while Veredus writes its log
to a file; it flushes no directory, while Veredus flushes those of its spool and of
the mailbox.
"""
import fcntl
import json
import os
import shlex
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


# What starts a peer and keeps it, in its cgroup, and is none of it.
OURS = ('unshare', 'sh', 'sleep')


def die(text):
    sys.exit(f'bench: {text}')


def make_maildir(home, uid):
    """Users among many have had mail before."""
    for d in (home, home / 'Maildir', *(home / 'Maildir' / x for x in ('tmp', 'new', 'cur'))):
        d.mkdir(mode=0o700, exist_ok=True)
        os.chown(d, uid, uid)


class Flushes:
    """flush.so below a directory that the target sees, and the number that it
    counts in: what a target's programs are told by their environment."""

    def __init__(self, directory, us, seen_as=None):
        self.so, self.count = directory / 'flush.so', directory / 'flush-count'
        cc = ['cc', '-O2', '-fPIC', '-shared', '-o', str(self.so), str(HERE / 'flush.c'), '-ldl']
        r = subprocess.run(cc, capture_output=True, text=True)
        if r.returncode:
            die(f'{shlex.join(cc)}: {r.stderr}')
        self.so.chmod(0o755)
        self.count.write_bytes(bytes(8))
        self.count.chmod(0o666)
        seen = Path(seen_as or directory)
        self.env = dict(LD_PRELOAD=str(seen / 'flush.so'), BENCH_FLUSH_US=str(us),
                        BENCH_FLUSH_COUNT=str(seen / 'flush-count'))

    def __call__(self):
        return int.from_bytes(self.count.read_bytes(), sys.byteorder)

    def blind(self, pids):
        """Programs that run without it."""
        out = []
        for p in pids:
            try:
                if harness.Instance.comm(p) not in OURS and 'flush.so' not in open(f'/proc/{p}/maps').read():
                    out.append(harness.Instance.comm(p))
            except OSError:
                pass
        return sorted(set(out))

    def close(self):
        self.so.unlink()
        self.count.unlink()


class Cgroup:
    """CPU seconds and memory of all processes of a target: cpu.stat of a cgroup
    v2 counts ended children too, and needs no controller."""

    def __init__(self, name):
        self.dir = self.mount() / f'veredus-bench-{os.getpid()}-{name}'
        self.dir.mkdir()

    @staticmethod
    def mount():
        for line in open('/proc/mounts'):
            if line.split()[2] == 'cgroup2':
                return Path(line.split()[1])
        die('no cgroup v2 mount: CPU of ended children could not be counted')

    def enter(self):
        (self.dir / 'cgroup.procs').write_text('0')

    def pids(self):
        return [int(x) for x in (self.dir / 'cgroup.procs').read_text().split()]

    def cpu_seconds(self):
        return int(re.search(r'usage_usec (\d+)', (self.dir / 'cpu.stat').read_text()).group(1)) / 1e6

    def rest(self):
        """Waits until the target does (almost) nothing; its CPU seconds by then."""
        last, end = self.cpu_seconds(), time.monotonic() + 3
        while True:
            time.sleep(0.05)
            now = self.cpu_seconds()
            if now - last < 0.0005 or time.monotonic() > end:
                return now
            last = now

    def pss_kib(self, comm=None):
        total = 0
        for p in self.pids():
            try:
                name = harness.Instance.comm(p)
                if name in OURS or comm and name != comm:
                    continue
                total += int(re.search(r'^Pss:\s+(\d+)', open(f'/proc/{p}/smaps_rollup').read(), re.M).group(1))
            except (OSError, AttributeError):
                pass
        return total

    def memfd_kib(self):
        """What lies in memory files that some program holds open, mapped or not."""
        files = {}
        for p in self.pids():
            try:
                for fd in os.listdir(f'/proc/{p}/fd'):
                    path = f'/proc/{p}/fd/{fd}'
                    if os.readlink(path).startswith(('/memfd:', '/dev/shm/')):
                        st = os.stat(path)
                        files[st.st_dev, st.st_ino] = st.st_blocks // 2
            except OSError:
                pass
        return sum(files.values())

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


def spread(directory):
    """Each directory that is made below this one gets a block group of its own. An
    ext4 without a journal does not use an inode again whose file was removed in the
    last minutes, and looks at all of these, for each new file, in the group of its
    directory: Postfix removes a file for each message, and nobody is to pay for who
    was measured before."""
    subprocess.run(['chattr', '+T', str(directory)], stderr=subprocess.DEVNULL, check=False)


class Target:
    """What workloads ask of every target.  start() may be told to have so many
    local users (as smtp-source -r names them: 1bench, 2bench, ...), flushes
    that take so long, and several next hops instead of one."""
    flushes = cgroup = None
    trash = None    # where delivered mail is put after a run, until all runs are over

    def put_away(self, directory):
        """Removing thousands of files would make an ext4 without a journal slow
        at making files, for half a minute, whoever is measured next."""
        if Target.trash is None:
            shutil.rmtree(directory, ignore_errors=True)
        elif directory.exists():
            directory.rename(Target.trash / f'{time.monotonic_ns()}')

    def not_preloaded(self):
        return self.flushes.blind(self.cgroup.pids())

    def left(self):
        """Messages that are still in the queue; a slow and sure look."""
        return self.queued()

    @staticmethod
    def listed(text):
        """Messages in what mailq printed."""
        return len(re.findall(rb'^[0-9A-Za-z]{6,}[*! ]', text, re.M))

    def stop(self):
        """Also after a start that failed halfway."""
        if self.cgroup:
            self.cgroup.close()
            self.cgroup = None
        if self.flushes:
            self.flushes.close()
            self.flushes = None


class Tools(Target):
    """Nothing at all: smtp-source straight into smtp-sink (workloads.w_tools)."""
    name, version = 'tools', ''

    def directories(self):
        return []

    def start(self):
        self.port, self.cgroup = harness.free_port(), Cgroup(self.name)

    def queued(self):
        return 0


class Rooted(Target):
    """A peer in its own root, in mount and process namespaces of its own."""
    child, locked = None, False

    def __init__(self, place, name):
        self.root = place / name
        self.home = self.root / 'home/bench'
        self.version = (place / f'{name}.version').read_text().strip()
        self.rcpt = 'bench@bench.test'
        # The root is not to be shared by two runs at once.
        self.lock = open(place / f'{name}.lock', 'w')

    def directories(self):
        """Where mail is made durable."""
        return [self.spool, self.home]

    def start(self, users=0, flush_us=0):
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            die(f'{self.root} is in use by another run')
        self.locked = True
        self.port, self.sink_port = harness.free_port(), harness.free_port()
        self.put_away(self.home / 'Maildir')
        spread(self.home)
        self.maildirs = [self.home / 'Maildir']
        self.add_users(users)
        if flush_us:
            self.flushes = Flushes(self.root / 'var/tmp', flush_us, '/var/tmp')
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

    def add_users(self, n):
        """Accounts beside bench, for one run."""
        etc = self.root / 'etc'
        self.put_away(self.root / 'home/many')
        (self.root / 'home/many').mkdir()
        spread(self.root / 'home/many')
        passwd = [x for x in (etc / 'passwd').read_text().splitlines() if ':/home/many/' not in x]
        for i in range(1, n + 1):
            home = self.root / f'home/many/{i}'
            home.mkdir()
            make_maildir(home, 3000 + i)
            passwd.append(f'{i}bench:x:{3000 + i}:{3000 + i}::/home/many/{i}:/bin/sh')
            self.maildirs.append(home / 'Maildir')
        (etc / 'passwd').write_text('\n'.join(passwd) + '\n')

    def stop(self):
        super().stop()
        if self.child:
            self.child.wait()
            self.child = None
        if self.locked:
            self.add_users(0)
            fcntl.flock(self.lock, fcntl.LOCK_UN)
            self.locked = False


class Postfix(Rooted):
    queues = ('incoming', 'active', 'deferred', 'hold', 'corrupt')
    command = 'postfix start; sleep 1d'

    def __init__(self, place, tuned):
        super().__init__(place, 'postfix')
        self.name, self.tuned = 'postfix-tuned' if tuned else 'postfix', tuned
        self.spool = self.root / 'var/spool/postfix'

    def configure(self):
        etc = self.root / 'etc/postfix'
        cf = POSTFIX_CF % self.sink_port + (POSTFIX_TUNED if self.tuned else '')
        if self.flushes:
            cf += 'import_environment = MAIL_CONFIG LANG=C ' + ' '.join(
                f'{k}={v}' for k, v in self.flushes.env.items()) + '\n'
        (etc / 'main.cf').write_text(cf)
        m = (etc / 'master.cf.dist').read_text()
        (etc / 'master.cf').write_text(re.sub(r'^smtp(\s+inet)', rf'127.0.0.1:{self.port}\1', m, flags=re.M))
        (self.spool / 'pid/master.pid').unlink(missing_ok=True)
        for d in 'incoming active deferred defer bounce corrupt maildrop hold'.split():
            shutil.rmtree(self.spool / d, ignore_errors=True)
            (self.spool / d).mkdir()
        # Debian chroots the daemons in the spool; here the root is a chroot already.
        fresh = (self.root / 'etc/aliases.db').exists()     # newaliases takes two seconds
        for cmd in (['postconf', '-F', '*/*/chroot=n'], *([] if fresh else [['newaliases']]),
                    ['postfix', 'set-permissions']):
            r = subprocess.run(['chroot', str(self.root), *cmd], capture_output=True, text=True)
            if r.returncode and 'set-permissions' not in cmd:    # it misses manuals; wait_220() tells
                die(f'{" ".join(cmd)}: {r.stderr}')

    def deferred(self):
        """Messages in the queue, once none is new or in work."""
        def files(*dirs):
            return sum(len(x) for d in dirs for _, _, x in os.walk(self.spool / d))
        return 0 if files('incoming', 'active', 'maildrop') else files('deferred')

    def mailq(self):
        return ['chroot', str(self.root), 'postqueue', '-p']

    def flush(self):
        return ['chroot', str(self.root), 'postqueue', '-f']


class Exim(Rooted):
    """For one message to many recipients, where it is the one to beat."""
    name, queues = 'exim', ('input',)
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


class Veredus(Target):
    name, i = 'veredus', None

    def __init__(self, prefix, tmp):
        harness.PREFIX = prefix
        os.environ['VEREDUS_TMP'] = str(tmp)
        self.tmp = tmp
        spread(tmp)
        self.version = subprocess.run(['git', '-C', str(HERE), 'describe', '--always', '--dirty'],
                                      capture_output=True, text=True).stdout.strip()
        self.rcpt = f'bench@{harness.HOST}'

    def directories(self):
        return [self.tmp]

    def start(self, users=0, flush_us=0, hosts=0):
        self.sink_port = harness.free_port()
        settings = dict(relayhost=f'[127.0.0.1]:{self.sink_port}')
        if hosts:
            hops = (f'[127.0.1.{n}]=smtp:[127.0.1.{n}]:{self.sink_port}' for n in range(1, hosts + 1))
            settings = dict(transport_maps='inline:{ %s }' % ', '.join(hops))
        names = ['bench', *(f'{n}bench' for n in range(1, users + 1))]
        self.i = harness.Instance(users=names, smtpd_max_sessions=20000, message_size_limit='50M',
                                  journal_segment_size=None, **settings)       # not the tests' small one
        self.maildirs = [self.i.home[u] / 'Maildir' for u in names]
        for home in (self.i.home[u] for u in names[1:]):
            make_maildir(home, home.stat().st_uid)
        self.port = self.i.port
        env = dict(os.environ)
        if flush_us:
            self.flushes = Flushes(self.i.dir, flush_us)
            env.update(self.flushes.env)
            self.wrap()
        self.cgroup = Cgroup(self.name)
        self.i.start(preexec_fn=self.cgroup.enter, env=env)

    def wrap(self):
        """Master passes on nothing of the loader's: each program gets flush.so
        from a script that becomes it."""
        d = self.i.dir / 'wrapped'
        d.mkdir()
        env = ' '.join(f'{k}={shlex.quote(v)}' for k, v in self.flushes.env.items())
        for p in (harness.PREFIX / 'libexec/veredus').iterdir():
            (d / p.name).write_text(f'#!/bin/sh\n{env} exec {shlex.quote(str(p))} "$@"\n')
            (d / p.name).chmod(0o755)
        self.i.write_conf(daemon_directory=d)

    def queued(self):
        return len(self.i.queue_files())

    def left(self):
        """With a journal in front of the files, only qmgr knows."""
        def known():
            return json.loads(self.i.veredus('queue', '-j', 'count').stdout)['total']
        try:
            harness.wait_until(lambda: not known(), 'an empty queue', 10)
        except AssertionError:
            pass
        return max(self.queued(), known())

    def deferred(self):
        r = self.i.veredus('queue', '-j', 'status=deferred')
        return r.stdout.count('\n')

    def mailq(self):
        return [harness.tool('mailq'), '-C', str(self.i.conf)]

    def flush(self):
        return [harness.tool('veredus'), '-c', str(self.i.conf), 'flush']

    def stop(self):
        if self.i is None:
            return
        try:
            self.i.stop()
        finally:
            super().stop()
            self.put_away(self.i.dir / 'home')
            self.i.remove()
