#!/usr/bin/python3
"""bench.py - Veredus beside Postfix, measured alike (`make bench').

Every round runs each target once, freshly started with an empty queue, on the
same file system; ratios are taken inside a round and their median is what
counts.  Every measurement is a JSON line (-o FILE keeps them).  It refuses: a
tmpfs, different file systems, a build with crash hooks or sanitizers, and calls
a run with a lost or doubled message invalid.

  bench.py --prefix DIR --build DIR [-r ROUNDS] [-m MESSAGES] [WORKLOAD...]
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'e2e'))

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
"""
# What an administrator would do for throughput on a small host.
POSTFIX_TUNED = """default_process_limit = 40
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


def fs_type(path):
    best = ('', '?')
    for line in open('/proc/mounts'):
        f = line.split()
        if str(path).startswith(f[1]) and len(f[1]) >= len(best[0]):
            best = (f[1], f[2])
    return best[1]


class Cpu:
    """CPU seconds and memory of all processes of a target: a cgroup v2 of its
    own (cpu.stat counts dead children too)."""

    def __init__(self, name):
        mount = next((line.split()[1] for line in open('/proc/mounts') if line.split()[2] == 'cgroup2'), None)
        if mount is None:
            die('no cgroup v2 mount: CPU of ended children could not be counted')
        self.dir = Path(mount) / 'veredus-bench' / name
        self.dir.mkdir(parents=True, exist_ok=True)

    def enter(self):
        (self.dir / 'cgroup.procs').write_text('0')

    def pids(self):
        return [int(x) for x in (self.dir / 'cgroup.procs').read_text().split()]

    def seconds(self):
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
        (self.dir / 'cgroup.kill').write_text('1')
        for _ in range(100):
            try:
                self.dir.rmdir()
                return
            except OSError:
                time.sleep(0.05)


def wait_220(port, timeout=30):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            with socket.create_connection(('127.0.0.1', port), 5) as s:
                s.settimeout(5)
                if s.recv(100).startswith(b'220'):
                    s.sendall(b'QUIT\r\n')
                    s.recv(100)
                    return
        except OSError:
            pass
        time.sleep(0.05)
    die(f'no 220 on port {port}')


class Postfix:
    def __init__(self, peers, tuned):
        self.name = 'postfix-tuned' if tuned else 'postfix'
        self.root, self.tuned = peers / 'postfix', tuned
        self.maildir = self.root / 'home/bench/Maildir'
        self.version = (peers / 'postfix.version').read_text().strip()
        self.smtpd = 'smtpd'

    def sh(self, cmd):
        subprocess.run(cmd, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        import harness
        self.port = harness.free_port()
        r = self.root
        (r / 'etc/postfix/main.cf').write_text(POSTFIX_CF + (POSTFIX_TUNED if self.tuned else ''))
        m = (r / 'etc/postfix/master.cf.dist').read_text()
        (r / 'etc/postfix/master.cf').write_text(
            re.sub(r'^smtp(\s+inet)', rf'127.0.0.1:{self.port}\1', m, flags=re.M))
        self.sh(f"chroot {r} postconf -F '*/*/chroot=n'; chroot {r} newaliases; rm -rf {self.maildir};"
                f'rm -f {r}/var/spool/postfix/pid/master.pid; cd {r}/var/spool/postfix && '
                'for d in incoming active deferred defer bounce corrupt maildrop hold; do rm -rf $d; mkdir $d; done;'
                f'chroot {r} postfix set-permissions || true')
        self.cpu = Cpu(self.name)
        self.child = subprocess.Popen(
            ['/bin/sh', '-c', f'exec unshare --mount --pid --fork --kill-child --mount-proc={r}/proc '
             f'chroot {r} sh -c "postfix start; sleep 1d"'], preexec_fn=self.cpu.enter, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_220(self.port)

    def rcpt(self):
        return 'bench@bench.test'

    def queued(self):
        spool = self.root / 'var/spool/postfix'
        return sum(len(files) for d in ('incoming', 'active', 'deferred', 'hold')
                   for _, _, files in os.walk(spool / d))

    def stop(self):
        self.cpu.close()
        self.child.wait()


class Veredus:
    name = 'veredus'
    smtpd = 'smtpd'

    def __init__(self, prefix, tmp):
        os.environ['VEREDUS_PREFIX'] = str(prefix)
        os.environ['VEREDUS_TMP'] = str(tmp)
        self.version = subprocess.run(['git', '-C', str(HERE), 'rev-parse', '--short', 'HEAD'],
                                      capture_output=True, text=True).stdout.strip()

    def start(self):
        import harness
        self.i = harness.Instance(users=('bench',), smtpd_max_sessions=20000, message_size_limit='50M')
        self.maildir = self.i.home['bench'] / 'Maildir'
        self.cpu = Cpu(self.name)
        popen = subprocess.Popen
        cpu = self.cpu

        def inside(*a, **kw):
            return popen(*a, preexec_fn=cpu.enter, **kw)
        harness.subprocess.Popen = inside
        try:
            self.i.start()
        finally:
            harness.subprocess.Popen = popen
        self.port = self.i.port

    def rcpt(self):
        return f'bench@{self.i.settings["myhostname"]}'

    def queued(self):
        return len(self.i.queue())

    def stop(self):
        self.i.stop()
        self.i.remove()
        self.cpu.close()


def load_tool(load, name):
    libs = [str(load / 'usr/lib/postfix')] + [str(p) for p in load.glob('usr/lib/*-linux-gnu')]
    return [str(load / 'usr/sbin' / name)], dict(os.environ, LD_LIBRARY_PATH=':'.join(libs))


def count(maildir):
    try:
        return len(os.listdir(maildir / 'new'))
    except FileNotFoundError:
        return 0


def w_local(t, a, sessions, keep):
    """smtp-source -> queue -> one user's Maildir, 2 KiB messages."""
    cmd, env = load_tool(a.load, 'smtp-source')
    cmd += ['-s', str(sessions), '-m', str(a.messages), '-l', '2048', '-f', 'sender@client.test',
            '-t', t.rcpt(), '-M', 'client.test'] + (['-d'] if keep else []) + [f'127.0.0.1:{t.port}']
    cpu0, t0 = t.cpu.seconds(), time.monotonic()
    subprocess.run(cmd, env=env, check=True, stdout=subprocess.DEVNULL, timeout=600)
    accepted = time.monotonic() - t0
    last, moved = -1, time.monotonic()
    while count(t.maildir) < a.messages and time.monotonic() - moved < 60:
        n = count(t.maildir)
        if n != last:
            last, moved = n, time.monotonic()
        time.sleep(0.02)
    total = time.monotonic() - t0
    time.sleep(0.3)
    n = count(t.maildir)
    return dict(ok=n == a.messages and t.queued() == 0, delivered=n, accepted_s=round(accepted, 3),
                delivered_s=round(total, 3), per_s=round(n / total),
                cpu_ms_per_message=round((t.cpu.seconds() - cpu0) * 1000 / a.messages, 4),
                pss_mib=round(t.cpu.pss_kib() / 1024, 1))


def w_idle(t, a, sessions, keep):
    """Sessions held open after EHLO: memory of all of smtpd."""
    before = t.cpu.pss_kib(t.smtpd)
    held = []
    try:
        for _ in range(sessions):
            s = socket.create_connection(('127.0.0.1', t.port), 20)
            s.settimeout(20)
            if not s.recv(200).startswith(b'220'):
                break
            s.sendall(b'EHLO client.test\r\n')
            if not s.recv(1000).startswith(b'250'):
                break
            held.append(s)
        pss = t.cpu.pss_kib(t.smtpd)
        return dict(ok=len(held) == sessions, held=len(held), smtpd_pss_mib=round(pss / 1024, 1),
                    kib_per_session=round((pss - before) / max(1, len(held)), 2))
    finally:
        for s in held:
            s.close()


WORKLOADS = {
    'local-20-new': (w_local, 20, False), 'local-20-kept': (w_local, 20, True),
    'local-100-new': (w_local, 100, False), 'local-100-kept': (w_local, 100, True),
    'local-1-kept': (w_local, 1, True), 'idle-2000': (w_idle, 2000, False),
}


def refuse(a):
    cfg = Path(a.build) / 'config.h'
    if re.search(r'^#define VEREDUS_(HOOKS|SANITIZERS|DEBUG_WALLS)\b', cfg.read_text(), re.M):
        die('this build has crash hooks or sanitizers; configure one without')
    if os.geteuid() != 0:
        die("needs root: Postfix's root is entered by chroot, and both systems run under their own users")
    for d in (a.tmp, a.peers):
        if fs_type(Path(d).resolve()) in ('tmpfs', 'ramfs'):
            die(f'{d} is on a tmpfs: a flush costs nothing there')
    if os.stat(a.tmp).st_dev != os.stat(a.peers).st_dev:
        die(f'{a.tmp} and {a.peers} are on different file systems')


def summary(rows, out=sys.stdout):
    print(f'\n{"workload":16} {"target":14} {"cpu ms/msg":>10} {"msg/s":>8} {"smtpd MiB":>9} {"cpu ratio":>10} {"rate ratio":>10}',
          file=out)
    for w in WORKLOADS:
        by = {}
        for r in rows:
            if r['workload'] == w:
                by.setdefault(r['target'], {})[r['round']] = r
        mine = by.get('veredus', {})
        for name, rounds in by.items():
            def med(key):
                v = [r[key] for r in rounds.values() if key in r]
                return f'{statistics.median(v):.3f}' if v else '-'

            def ratio(key):
                v = [mine[i][key] / r[key] for i, r in rounds.items() if i in mine and r.get(key)]
                return f'{statistics.median(v):.3f}' if v and name != 'veredus' else ''
            print(f'{w:16} {name:14} {med("cpu_ms_per_message"):>10} {med("per_s"):>8} {med("smtpd_pss_mib"):>9} '
                  f'{ratio("cpu_ms_per_message"):>10} {ratio("per_s"):>10}', file=out)
    print('ratios: Veredus / that target, inside a round, median', file=out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--prefix', required=True)
    p.add_argument('--build', required=True)
    p.add_argument('--load', type=Path, help="where Postfix's smtp-source was unpacked (default BUILD/load-tools)")
    p.add_argument('--peers', type=Path, default=Path(os.environ.get('MTA_PEERS', '/var/cache/mta-peers')))
    p.add_argument('--tmp', type=Path)
    p.add_argument('-r', '--rounds', type=int, default=3)
    p.add_argument('-m', '--messages', type=int, default=5000)
    p.add_argument('-o', '--output')
    p.add_argument('--only', help='comma separated targets')
    p.add_argument('workload', nargs='*')
    a = p.parse_args()
    bad = [w for w in a.workload if w not in WORKLOADS]
    if bad:
        die(f'no such workload: {bad[0]}; there are {", ".join(WORKLOADS)}')
    a.load = a.load or Path(a.build) / 'load-tools'
    a.peers.mkdir(parents=True, exist_ok=True)
    a.tmp = a.tmp or Path(tempfile.mkdtemp(prefix='bench', dir=a.peers))
    os.chmod(a.tmp, 0o755)
    refuse(a)
    subprocess.run([str(HERE / 'prepare.sh'), str(a.peers)], check=True)
    targets = [Postfix(a.peers, False), Postfix(a.peers, True), Veredus(a.prefix, a.tmp)]
    if a.only:
        targets = [t for t in targets if t.name in a.only.split(',')]
    rows, out = [], open(a.output, 'a') if a.output else None
    signal.signal(signal.SIGTERM, lambda *x: sys.exit(143))
    try:
        for name in a.workload or WORKLOADS:
            fn, sessions, keep = WORKLOADS[name]
            for rnd in range(a.rounds):
                for t in targets:
                    t.start()
                    try:
                        r = dict(workload=name, target=t.name, version=t.version, round=rnd,
                                 messages=a.messages, sessions=sessions, kept=keep, **fn(t, a, sessions, keep))
                    finally:
                        t.stop()
                    r['load1'] = os.getloadavg()[0]
                    rows.append(r)
                    for f in filter(None, (sys.stdout, out)):
                        print(json.dumps(r), file=f, flush=True)
    finally:
        shutil.rmtree(a.tmp, ignore_errors=True)
    summary(rows)
    return 0 if all(r['ok'] for r in rows) else 1


if __name__ == '__main__':
    sys.exit(main())
