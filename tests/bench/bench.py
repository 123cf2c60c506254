#!/usr/bin/python3
"""bench.py - Veredus beside Postfix (and Exim), measured alike (`make bench').

Every round runs each target once, freshly started with an empty queue, on the
same file system; ratios are taken inside a round and their median is what
counts.  Every measurement is a JSON line (-o FILE keeps them).  It refuses a
tmpfs, different file systems, and programs with crash hooks or sanitizers.  A
run with a lost, doubled or shortened message, or with mail left in the queue, is
shown with the reason, counts in no ratio, and makes the whole fail, as does a
bar that was missed.

  bench.py --prefix DIR [-r ROUNDS] [-m MESSAGES] [WORKLOAD...]
"""
import argparse
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sinks import Holder, Sink
from targets import HERE, Exim, Postfix, Veredus, die

SIZE = 2048          # octets of a message, smtp-source -l
CPU_BARS = {'local': 1 / 3, 'relay': 1 / 4}  # of Postfix's CPU per message
IDLE_BAR_MIB = 40    # all of smtpd, with 2,000 idle sessions
OUT_BAR_MIB = 40     # remote, with 1,000 connections
OUT_HOSTS = 200      # ... to so many hosts
FAN = 1000           # recipients of one message
FAN_BAR = 1.0        # at least as fast as Exim
FLUSHES = ('fsync', 'fdatasync', 'syncfs', 'sync')  # sync_file_range() alone promises nothing
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


# ------------------------------------------------------------------ workloads

def count(maildir):
    try:
        return len(os.listdir(maildir / 'new'))
    except FileNotFoundError:
        return 0


def wrong_mail(t, messages):
    """What is wrong with what was delivered, in words, or ''."""
    ids, short = Counter(), 0
    for f in (t.maildir / 'new').iterdir() if t.maildir.is_dir() else ():
        text = f.read_bytes()
        m = re.search(rb'^Message-Id: (.*)$', text, re.M | re.I)
        ids[m.group(1).strip() if m else f.name] += 1
        short += len(text) < SIZE
    said = []
    if len(ids) != messages:
        said.append(f'{messages - len(ids)} lost')
    if ids.total() != len(ids):
        said.append(f'{ids.total() - len(ids)} doubled')
    if short:
        said.append(f'{short} shortened')
    if t.queued():
        said.append(f'{t.queued()} left in the queue')
    return ', '.join(said)


def source(t, rcpt, messages, sessions, kept, rcpts=1):
    """smtp-source sends all; what went wrong, or ''."""
    cmd = ['chroot', str(t.load_root), '/usr/sbin/smtp-source', '-s', str(sessions), '-m', str(messages),
           '-l', str(SIZE), '-f', 'sender@client.test', '-t', rcpt, '-M', 'client.test', '-r', str(rcpts),
           *(['-d'] if kept else []), f'127.0.0.1:{t.port}']
    try:
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=600)
        return '' if r.returncode == 0 else f'smtp-source: {r.stderr.strip()[-200:]}'
    except subprocess.TimeoutExpired:
        return 'smtp-source did not end in 600 s'


def settle(t, arrived, wanted, trouble):
    """Waits until all has arrived and the queue is empty, or nothing moves."""
    last, moved = (-1, -1), time.monotonic()
    while True:
        now = time.monotonic()
        state = (arrived(), t.queued())
        if state[0] >= wanted and state[1] == 0 or now - moved > (2 if trouble else 30):
            return
        if state != last:
            last, moved = state, now
        time.sleep(0.02)


def load(t, messages, sessions, kept):
    """Sends all, and waits until all is home and the queue empty.  Returns the
    seconds to the last 250, to the last delivery, and what was wrong."""
    t0 = time.monotonic()
    trouble = source(t, t.rcpt, messages, sessions, kept)
    accepted = time.monotonic() - t0
    settle(t, lambda: count(t.maildir), messages, trouble)
    return accepted, time.monotonic() - t0, trouble or wrong_mail(t, messages)


def w_local(t, a, sessions, kept):
    """smtp-source -> queue -> one user's Maildir."""
    cpu0 = t.cgroup.cpu_seconds()
    accepted, total, wrong = load(t, a.messages, sessions, kept)
    cpu = t.cgroup.cpu_seconds() - cpu0
    return dict(wrong=wrong, accepted_s=round(accepted, 3), delivered_s=round(total, 3),
                accepted_per_s=round(a.messages / accepted), per_s=round(a.messages / total),
                cpu_ms_per_message=round(cpu * 1000 / a.messages, 4), pss_mib=round(t.cgroup.pss_kib() / 1024, 1))


def relay(t, messages, sessions, kept, rcpts):
    """smtp-source -> queue -> smtp-sink."""
    sink = Sink(t.load_root, t.sink_port)
    try:
        cpu0, t0 = t.cgroup.cpu_seconds(), time.monotonic()
        trouble = source(t, 'user@remote.test', messages, sessions, kept, rcpts)
        accepted = time.monotonic() - t0
        arrived = sink.count if rcpts == 1 else sink.recipients
        settle(t, arrived, messages * rcpts, trouble)
        total = time.monotonic() - t0
        cpu = t.cgroup.cpu_seconds() - cpu0
        wrong = trouble or sink.wrong(messages, messages * rcpts)
        if not wrong and t.queued():
            wrong = f'{t.queued()} left in the queue'
    finally:
        sink.close()
    return dict(wrong=wrong, accepted_s=round(accepted, 3), delivered_s=round(total, 3),
                accepted_per_s=round(messages / accepted), per_s=round(messages * rcpts / total),
                cpu_ms_per_message=round(cpu * 1000 / messages / rcpts, 4))


def w_relay(t, a, sessions, kept):
    return relay(t, a.messages, sessions, kept, 1)


def w_fan(t, a, sessions, kept):
    """One message with many recipients at one destination; all by the recipient."""
    return relay(t, 1, sessions, kept, FAN)


def w_out(t, a, sessions, kept):
    """Connections that wait for the answer to the end of data, five to each of
    many hosts: memory of remote.  Postfix has a process for each and at most 100
    of them by default; it is not measured."""
    if t.name != 'veredus':
        return dict(wrong='', held=0)
    holder = Holder(t.sink_port)
    try:
        before = t.cgroup.pss_kib('remote')
        with smtplib.SMTP('127.0.0.1', t.port, timeout=60) as c:
            for i in range(sessions):
                c.sendmail('sender@client.test', f'user@[127.0.1.{1 + i % OUT_HOSTS}]', 'x' * SIZE)
                holder.turn(0)
        held = holder.hold(sessions, 60)
        pss = t.cgroup.pss_kib('remote')
    finally:
        holder.close()
    return dict(wrong='' if held >= sessions else f'only {held} connections', held=held,
                remote_pss_mib=round(pss / 1024, 1), kib_per_session=round((pss - before) / max(1, held), 2))


def traced(tracer, pids):
    def tracer_of(pid):
        try:
            return re.search(r'^TracerPid:\s+(\d+)', open(f'/proc/{pid}/status').read(), re.M).group(1)
        except OSError:
            return '-'
    end = time.monotonic() + 20
    while '0' in map(tracer_of, pids):
        if tracer.poll() is not None or time.monotonic() > end:
            die('strace cannot attach')
        time.sleep(0.02)


def w_calls(t, a, sessions, kept):
    """System calls of all processes of the target, by strace; no times.  Each
    message must have been flushed at least twice: in the queue, in the mailbox."""
    messages = min(a.messages, 1000)
    pids = t.cgroup.pids()
    with tempfile.NamedTemporaryFile('r') as out:
        tracer = subprocess.Popen(['strace', '-f', '-c', '-U', 'calls,name', '-o', out.name,
                                   *(x for p in pids for x in ('-p', str(p)))], stderr=subprocess.DEVNULL)
        try:
            traced(tracer, pids)
            _, _, wrong = load(t, messages, sessions, kept)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        calls = {m[2]: int(m[1]) for m in re.finditer(r'^\s*(\d+)\s+(\w+)$', out.read(), re.M) if m[2] != 'total'}
    flushes = sum(calls.get(c, 0) for c in FLUSHES) / messages
    if not wrong and flushes < 2:
        wrong = f'only {flushes:.2f} flushes a message: a mailbox or a queue was not made durable'
    return dict(wrong=wrong, messages=messages, calls_per_message=round(sum(calls.values()) / messages, 1),
                flushes_per_message=round(flushes, 2),
                calls={c: round(n / messages, 2) for c, n in sorted(calls.items(), key=lambda x: -x[1])[:20]})


def w_idle(t, a, sessions, kept):
    """Sessions held open after EHLO: memory of all of smtpd.  Postfix serves no
    more than its process limit; what it holds is counted by the session."""
    before = t.cgroup.pss_kib('smtpd')
    held = []
    try:
        while len(held) < sessions:
            s = socket.create_connection(('127.0.0.1', t.port), 20)
            held.append(s)
            s.settimeout(5)
            if not s.recv(200).startswith(b'220'):
                break
            s.sendall(b'EHLO client.test\r\n')
            if not s.recv(1000).startswith(b'250'):
                break
        else:
            held.append(None)
    except OSError:
        pass
    served = len(held) - 1
    pss = t.cgroup.pss_kib('smtpd')
    for s in filter(None, held):
        s.close()
    wrong = '' if served == sessions or served and t.name != 'veredus' else f'only {served} sessions served'
    return dict(wrong=wrong, held=served, smtpd_pss_mib=round(pss / 1024, 1),
                kib_per_session=round((pss - before) / max(1, served), 2))


WORKLOADS = {
    'local-20-new': (w_local, 20, False), 'local-20-kept': (w_local, 20, True),
    'local-100-new': (w_local, 100, False), 'local-100-kept': (w_local, 100, True),
    'local-1-kept': (w_local, 1, True), 'idle-2000': (w_idle, 2000, False),
    'relay-1-new': (w_relay, 1, False), 'relay-1-kept': (w_relay, 1, True),
    'relay-20-new': (w_relay, 20, False), 'relay-20-kept': (w_relay, 20, True),
    'relay-100-new': (w_relay, 100, False), 'relay-100-kept': (w_relay, 100, True),
    'fan-1000': (w_fan, 1, False), 'out-1000': (w_out, 1000, False),
    'calls-20-new': (w_calls, 20, False), 'calls-20-kept': (w_calls, 20, True),
}


# -------------------------------------------------------------------- summary

COLUMNS = (('cpu_ms_per_message', 'cpu ms/msg'), ('per_s', 'msg/s'), ('calls_per_message', 'calls/msg'),
           ('flushes_per_message', 'flush/msg'), ('smtpd_pss_mib', 'smtpd MiB'),
           ('remote_pss_mib', 'remote MiB'), ('kib_per_session', 'KiB/sess'))


def median(rows, key):
    v = [r[key] for r in rows.values() if key in r]
    return statistics.median(v) if v else None


def ratio(mine, other, key):
    v = [mine[i][key] / r[key] for i, r in other.items() if i in mine and r.get(key) and mine[i].get(key)]
    return statistics.median(v) if v else None


def show(v, form='.3f'):
    return '' if v is None else format(v, form)


def summary(rows, out=sys.stdout):
    """Prints the medians; returns the bars that were missed, in words."""
    print('\n| workload | target | rounds | ' + ' | '.join(c[1] for c in COLUMNS) + ' | cpu ratio | rate ratio |', file=out)
    print('|---' * (5 + len(COLUMNS)) + '|', file=out)
    missed = [f'{r["workload"]} {r["target"]} round {r["round"]}: {r["wrong"]}' for r in rows if r['wrong']]
    for w in WORKLOADS:
        by = {}
        for r in rows:
            if r['workload'] == w and not r['wrong']:
                by.setdefault(r['target'], {})[r['round']] = r
        mine = by.get('veredus', {})
        for name, rounds in by.items():
            cpu = rate = None
            if name != 'veredus':
                cpu, rate = ratio(mine, rounds, 'cpu_ms_per_message'), ratio(mine, rounds, 'per_s')
                bar = CPU_BARS.get(w.split('-')[0])
                if name == 'exim':
                    bar = None
                    if rate is not None and rate < FAN_BAR:
                        missed.append(f'{w}: {rate:.2f} times as fast as exim')
                if cpu is not None and bar is not None and cpu > bar:
                    missed.append(f'{w}: {cpu:.2f} of the CPU of {name}, not at most {bar:.2f}')
            print(f'| {w} | {name} | {len(rounds)} | ' + ' | '.join(show(median(rounds, c[0])) for c in COLUMNS)
                  + f' | {show(cpu)} | {show(rate, ".2f")} |', file=out)
        if (median(mine, 'smtpd_pss_mib') or 0) > IDLE_BAR_MIB:
            missed.append(f'{w}: more than {IDLE_BAR_MIB} MiB')
        if (median(mine, 'remote_pss_mib') or 0) > OUT_BAR_MIB:
            missed.append(f'{w}: more than {OUT_BAR_MIB} MiB')
    print('\nratios: Veredus / that target, inside a round, median', file=out)
    for disk in sorted({(r.get('disk', '?'), r.get('flush_us', 0)) for r in rows}):
        print('disk: %s; a new file and its flush take %d us' % disk, file=out)
    for text in missed:
        print(f'MISSED: {text}', file=out)
    return missed


# ----------------------------------------------------------------------- main

def measure(a, targets, rows):
    out = open(a.output, 'a') if a.output else None
    for name in a.workload or WORKLOADS:
        fn, sessions, kept = WORKLOADS[name]
        for rnd in range(a.rounds):
            for t in targets:
                if t.only and name not in t.only:
                    continue
                t.load_root = a.peers / 'postfix'
                if name == 'out-1000':
                    Veredus.hosts = OUT_HOSTS
                r = dict(workload=name, target=t.name, version=t.version, round=rnd, messages=a.messages,
                         size=SIZE, sessions=sessions, kept=kept, disk=a.disk, flush_us=a.flush_us)
                t.start()
                try:
                    r.update(fn(t, a, sessions, kept))
                finally:
                    t.stop()
                    Veredus.hosts = 0
                r['load1'] = os.getloadavg()[0]
                rows.append(r)
                for f in filter(None, (sys.stdout, out)):
                    print(json.dumps(r), file=f, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--prefix', type=Path, help='where Veredus is installed')
    p.add_argument('--peers', type=Path, default=Path(os.environ.get('MTA_PEERS', '/var/cache/mta-peers')),
                   help="where Postfix's root is, or is made (default $MTA_PEERS or /var/cache/mta-peers)")
    p.add_argument('--tmp', type=Path, help="below which Veredus' spool and mailbox are made (default: the peers)")
    p.add_argument('-r', '--rounds', type=int, default=3)
    p.add_argument('-m', '--messages', type=int, default=5000)
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
    if os.geteuid() != 0:
        die("needs root: Postfix's root is entered by chroot, and both systems run under their own users")
    refuse_programs(a.prefix)
    a.peers.mkdir(parents=True, exist_ok=True)
    tmp = Path(tempfile.mkdtemp(prefix='bench', dir=a.tmp or a.peers))
    tmp.chmod(0o755)
    rows = []
    signal.signal(signal.SIGTERM, lambda *x: sys.exit(143))
    try:
        refuse_directories([tmp, a.peers])
        peers = ['postfix', *(['exim'] if set(a.workload or WORKLOADS) & Exim.only else [])]
        subprocess.run([str(HERE / 'prepare.sh'), str(a.peers), *peers], check=True)
        targets = [Postfix(a.peers, False), Postfix(a.peers, True), Veredus(a.prefix, tmp)]
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
