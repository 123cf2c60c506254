#!/usr/bin/python3
"""bench.py - Veredus beside Postfix (and Exim), measured alike (`make bench').

Every round runs each workload once with each target, freshly started with an
empty queue, on the same file system; ratios are taken inside a round and their
median is what counts (bars.py).  A run of all ends in about --minutes: later
rounds leave out what would not fit.  Every measurement is a JSON line (-o FILE
keeps them).  It refuses a tmpfs, different file systems, and programs with crash
hooks or sanitizers.  A run with a lost, doubled or shortened message, or with mail
left in the queue, is shown with the reason, counts in no ratio, and makes the whole
fail, as does a bar that was missed.

  bench.py --prefix DIR [-r ROUNDS] [-m MESSAGES] [WORKLOAD...]
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bars import summary
from targets import HERE, Exim, Postfix, Target, Tools, Veredus, die
from workloads import PAIR, SIZE, WORKLOADS, w_tools

# Only in programs that may not be measured: the hooks' variable (master
# passes on "VEREDUS_IO_PLAN=" in any build), the sanitizers.
NOT_MEASURED = (b'VEREDUS_IO_PLAN\0', b'__asan_init', b'__ubsan_handle', b'__tsan_init')


# ------------------------------------------------------------------- refusals

def fs_type(path):
    return subprocess.run(['stat', '-f', '-c', '%T', str(path)], check=True, capture_output=True,
                          text=True).stdout.strip()


def refuse_programs(prefix):
    found = [p for d in ('libexec', 'sbin', 'bin') for p in (prefix / d).rglob('*') if p.is_file()]
    if not any(p.name == 'cleanup' for p in found):
        die(f'no Veredus is installed below {prefix}')
    for p in found:
        if any(word in p.read_bytes() for word in NOT_MEASURED):
            die(f'{p} has crash hooks or sanitizers; configure a build without')


def refuse_directories(dirs):
    for d in dirs:
        if fs_type(d) in ('tmpfs', 'ramfs'):
            die(f'{d} is on a tmpfs: a flush costs nothing there')
    if len({os.stat(d).st_dev for d in dirs}) > 1:
        die('on different file systems: ' + ', '.join(map(str, dirs)))


def file_system(path):
    """Its type; says of an ext4 whether it has a journal, since without one
    making a file is slow wherever many were removed in the last minutes."""
    kind, dev = fs_type(path), os.stat(path).st_dev
    if kind == 'ext2/ext3':
        name = os.path.basename(os.path.realpath(f'/sys/dev/block/{os.major(dev)}:{os.minor(dev)}'))
        kind = 'ext4, journal' if list(Path('/proc/fs/jbd2').glob(f'{name}-*')) else 'ext4, no journal'
    return kind


def flush_us(directory, n=100):
    """What this disk takes for a new file of a message's size and its flush."""
    took = []
    for i in range(n):
        path = directory / f'flush{i}'
        t0 = time.monotonic()
        with open(path, 'wb', buffering=0) as f:
            f.write(b'x' * SIZE)
            os.fdatasync(f.fileno())
        took.append(time.monotonic() - t0)
        path.unlink()
    return round(statistics.median(took) * 1e6)


# ----------------------------------------------------------------------- main

def once(t, name, a, rnd):
    """One workload with one target; its row."""
    w = WORKLOADS[name]
    messages = max(1, round(a.messages * w.scale))
    r = dict(workload=name, target=t.name, version=t.version, round=rnd, messages=messages, size=SIZE,
             sessions=w.sessions, kept=w.kept, cores=os.cpu_count(), disk=a.disk, flush_us=a.flush_us)
    t.load_root = a.peers / 'postfix'
    try:
        t.start(**w.needs)
        r.update((w_tools if t.name == 'tools' else w.run)(t, messages, w.sessions, w.kept))
    finally:
        t.stop()
    return dict(r, load1=os.getloadavg()[0])


def measure(a, targets, rows):
    """Round by round, so that what else the machine does meets all alike."""
    out = open(a.output, 'a') if a.output else None
    begin, took = time.monotonic(), {}
    for rnd in range(a.rounds):
        for name in a.workload or WORKLOADS:
            start = time.monotonic()
            if not a.workload and (rnd >= WORKLOADS[name].most
                                   or rnd and start - begin + took[name] > a.minutes * 60):
                continue
            for t in targets:
                if t.name in (WORKLOADS[name].only or PAIR):
                    rows.append(once(t, name, a, rnd))
                    for f in filter(None, (sys.stdout, out)):
                        print(json.dumps(rows[-1]), file=f, flush=True)
            took[name] = time.monotonic() - start


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--prefix', type=Path, help='where Veredus is installed')
    p.add_argument('--peers', type=Path, default=Path(os.environ.get('MTA_PEERS', '/var/cache/mta-peers')),
                   help="where Postfix's root is, or is made (default $MTA_PEERS or /var/cache/mta-peers)")
    p.add_argument('--tmp', type=Path, help="below which Veredus' spool and mailbox are made (default: the peers)")
    p.add_argument('-r', '--rounds', type=int, default=3)
    p.add_argument('-m', '--messages', type=int, default=2000,
                   help='of a workload; some take a part or a multiple of it')
    p.add_argument('--minutes', type=float, default=23, help='after which a run of all begins no more rounds')
    p.add_argument('-o', '--output', help='JSON lines are added to this file')
    p.add_argument('--only', help='comma separated targets')
    p.add_argument('--summary', metavar='FILE', help='no runs: the summary of JSON lines')
    p.add_argument('workload', nargs='*', help=' '.join(WORKLOADS))
    a = p.parse_args()
    if a.summary:
        return 1 if summary([json.loads(line) for line in open(a.summary)]) else 0
    if a.prefix is None:
        p.error('--prefix is missing')
    a.prefix, a.peers = a.prefix.resolve(), a.peers.resolve()
    for w in a.workload:
        if w not in WORKLOADS:
            die(f'no such workload: {w}; there are {", ".join(WORKLOADS)}')
    if set((a.only or 'veredus').split(',')) - {*PAIR, 'exim', 'tools'}:
        die(f'no such target: {a.only}; there are {", ".join(PAIR)}, exim, tools')
    if os.geteuid() != 0:
        die("needs root: Postfix's root is entered by chroot, and both systems run under their own users")
    refuse_programs(a.prefix)
    a.peers.mkdir(parents=True, exist_ok=True)
    tmp = Path(tempfile.mkdtemp(prefix='bench', dir=a.tmp or a.peers))
    tmp.chmod(0o755)
    Target.trash = tmp / 'trash'
    Target.trash.mkdir()
    rows = []
    signal.signal(signal.SIGTERM, lambda *x: sys.exit(143))
    try:
        refuse_directories([tmp, a.peers])
        wanted = {t for w in a.workload or WORKLOADS for t in WORKLOADS[w].only or PAIR}
        peers = ['postfix', *(['exim'] if 'exim' in wanted else [])]
        subprocess.run([str(HERE / 'prepare.sh'), str(a.peers), *peers], check=True)
        targets = [Postfix(a.peers, False), Postfix(a.peers, True), Veredus(a.prefix, tmp), Tools()]
        if 'exim' in peers:
            targets.insert(0, Exim(a.peers))
        refuse_directories([d for t in targets for d in t.directories()])
        a.disk, a.flush_us = file_system(tmp), flush_us(tmp)
        measure(a, [t for t in targets if not a.only or t.name in a.only.split(',')], rows)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return 1 if summary(rows) else 0


if __name__ == '__main__':
    sys.exit(main())
