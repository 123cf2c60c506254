"""What is done to a target and measured: each workload gets a started target with
an empty queue, returns what it found, and says in `wrong' what makes the figures
mean nothing (mail lost, doubled, shortened or left), or ''."""
import os
import re
import signal
import smtplib
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter, namedtuple

from sinks import Holder, Sink
from targets import die, harness

SIZE = 2048          # octets of a message, smtp-source -l
OUT_HOSTS = 200      # hosts that remote's connections go to
FAN = 1000           # recipients of one message
FLUSHES = ('fsync', 'fdatasync', 'syncfs', 'sync')  # sync_file_range() alone promises nothing
FLUSH_US = 2000      # what a flush takes in flush-*
SENDER = ('-f', 'sender@client.test', '-M', 'client.test', '-l', str(SIZE))


# ---------------------------------------------------------------- what arrived

def count(maildirs):
    n = 0
    for d in maildirs:
        try:
            n += len(os.listdir(d / 'new'))
        except FileNotFoundError:
            pass
    return n


def wrong_mail(t, messages, copies=1):
    """What is wrong with what was delivered, in words, or ''.  Each message is to
    be `copies' times there, once in each of so many mailboxes."""
    ids, short = Counter(), 0
    for d in t.maildirs:
        for f in (d / 'new').iterdir() if (d / 'new').is_dir() else ():
            text = f.read_bytes()
            m = re.search(rb'^Message-Id: (.*)$', text, re.M | re.I)
            ids[(m.group(1).strip() if m else f.name, d if copies > 1 else None)] += 1
            short += len(text) < SIZE
    said = []
    if len(ids) != messages * copies:
        said.append(f'{messages * copies - len(ids)} lost')
    if ids.total() != len(ids):
        said.append(f'{ids.total() - len(ids)} doubled')
    if short:
        said.append(f'{short} shortened')
    return ', '.join(said + left(t))


def left(t):
    n = t.left()
    return [f'{n} left in the queue'] if n else []


def settle(t, arrived, wanted, trouble):
    """Waits until all has arrived and nothing is seen in the queue's files, or
    nothing moves any more."""
    last, moved, looked, left_over = None, time.monotonic(), 0, -1
    while True:
        now, n = time.monotonic(), arrived()
        if n >= wanted or now - looked > 1:    # thousands of files are work to look at
            looked, left_over = now, t.queued()
        if n >= wanted and left_over == 0 or now - moved > (2 if trouble else 30):
            return
        if (n, left_over) != last:
            last, moved = (n, left_over), now
        time.sleep(0.02)


# ------------------------------------------------------------------------ load

class Load:
    """smtp-source sends; what it and the sink took of the machine is kept apart
    from the target's, to tell when they are what is measured."""

    def __init__(self, t, cpu=True):
        self.t, self.tools0, self.cpu0 = t, self.children(), t.cgroup.cpu_seconds()
        self.start = time.monotonic()

    @staticmethod
    def children():
        u = os.times()
        return u.children_user + u.children_system

    def send(self, rcpt, messages, sessions, kept, rcpts=1):
        """Returns what went wrong, or ''."""
        cmd = ['chroot', str(self.t.load_root), '/usr/sbin/smtp-source', '-s', str(sessions), '-m', str(messages),
               *SENDER, '-t', rcpt, '-r', str(rcpts), *(['-d'] if kept else []), f'127.0.0.1:{self.t.port}']
        try:
            r = subprocess.run(cmd, capture_output=True, text=True, timeout=600)
            trouble = '' if r.returncode == 0 else f'smtp-source: {r.stderr.strip()[-200:]}'
        except subprocess.TimeoutExpired:
            trouble = 'smtp-source did not end in 600 s'
        self.accepted = time.monotonic() - self.start
        return trouble

    def arrive(self, arrived, wanted, trouble):
        """Until all is home; then, outside the time, until the target rests."""
        settle(self.t, arrived, wanted, trouble)
        self.total = time.monotonic() - self.start
        self.cpu = self.t.cgroup.rest() - self.cpu0

    def result(self, wrong, messages, rcpts=1):
        n = messages * rcpts
        return dict(wrong=wrong, accepted_s=round(self.accepted, 3), delivered_s=round(self.total, 3),
                    accepted_per_s=round(messages / self.accepted, 1), per_s=round(n / self.total, 1),
                    cpu_ms_per_message=round(self.cpu * 1000 / n, 4),
                    tools_cpu_ms_per_message=round((self.children() - self.tools0) * 1000 / n, 4))


def w_local(t, messages, sessions, kept):
    """smtp-source -> queue -> one user's Maildir."""
    run = Load(t)
    trouble = run.send(t.rcpt, messages, sessions, kept)
    run.arrive(lambda: count(t.maildirs), messages, trouble)
    return run.result(trouble or wrong_mail(t, messages), messages)


def w_fanlocal(t, messages, sessions, kept):
    """One message to many local users, each with a uid and a Maildir."""
    run = Load(t)
    trouble = run.send(t.rcpt, 1, sessions, kept, FAN)
    run.arrive(lambda: count(t.maildirs), FAN, trouble)
    return run.result(trouble or wrong_mail(t, 1, FAN), 1, FAN)


def relay(t, messages, sessions, kept, rcpts=1):
    """smtp-source -> queue -> smtp-sink."""
    with Sink(t.load_root, t.sink_port) as sink:
        run = Load(t)
        trouble = run.send('user@remote.test', messages, sessions, kept, rcpts)
        run.arrive(sink.count if rcpts == 1 else sink.recipients, messages * rcpts, trouble)
        wrong = trouble or ', '.join(filter(None, [sink.wrong(messages, messages * rcpts), *left(t)]))
    return run.result(wrong, messages, rcpts)


def w_relay(t, messages, sessions, kept):
    return relay(t, messages, sessions, kept)


def w_fan(t, messages, sessions, kept):
    """One message with many recipients at one destination; all by the recipient."""
    return relay(t, 1, sessions, kept, FAN)


def w_tools(t, messages, sessions, kept):
    """smtp-source straight into smtp-sink: what the load tools can do at most."""
    with Sink(t.load_root, t.port) as sink:
        run = Load(t)
        trouble = run.send('user@remote.test', messages, sessions, kept)
        run.arrive(sink.count, messages, trouble)
        wrong = trouble or sink.wrong(messages, messages)
    return run.result(wrong, messages)


# --------------------------------------------------------------------- backlog

def w_backlog(t, messages, sessions, kept):
    """The next hop refuses connections until all is deferred; the queue is
    listed; then the next hop is there, and all of it is flushed."""
    run = Load(t)
    trouble = run.send('user@remote.test', messages, sessions, kept)
    if trouble:
        return dict(wrong=trouble)
    try:
        harness.wait_until(lambda: t.deferred() >= messages, f'{messages} are deferred', 180)
    except AssertionError as e:
        return dict(wrong=f'{e}; {t.deferred()} are')
    t.cgroup.rest()
    took = []
    for _ in range(3):
        with tempfile.TemporaryFile() as out:
            start = time.monotonic()
            subprocess.run(t.mailq(), stdout=out, check=True)    # a timeout would look every 50 ms only
            took.append(time.monotonic() - start)
            out.seek(0)
            listed = t.listed(out.read())
    if listed != messages:
        return dict(wrong=f'the listing has {listed} of {messages} messages')
    pss = t.cgroup.pss_kib()
    with Sink(t.load_root, t.sink_port) as sink:
        drain = Load(t)
        subprocess.run(t.flush(), check=True, stdout=subprocess.DEVNULL)
        drain.arrive(sink.count, messages, '')
        wrong = ', '.join(filter(None, [sink.wrong(messages, messages), *left(t)]))
    return dict(wrong=wrong, filled_s=round(run.accepted, 3), mailq_s=round(statistics.median(took), 4),
                drain_s=round(drain.total, 3), per_s=round(messages / drain.total, 1), pss_mib=round(pss / 1024, 1),
                cpu_ms_per_message=round(drain.cpu * 1000 / messages, 4))


# ----------------------------------------------------------------- slow flushes

def w_flush(t, messages, sessions, kept):
    """A relay on a disk that takes 2 ms for a flush (flush.c); how fast messages
    are accepted, and all flushes that were waited for."""
    blind = t.not_preloaded()
    if blind:
        return dict(wrong='without flush.so: ' + ', '.join(blind))
    before = t.flushes()
    r = relay(t, messages, sessions, kept)
    flushes = t.flushes() - before
    if not r['wrong'] and not flushes:
        r['wrong'] = 'not one flush was counted'
    return dict(r, flushes_per_message=round(flushes / messages, 3))


# ----------------------------------------------------------------------- memory

def w_memory(t, messages, sessions, kept):
    """All memory of all programs (PSS, and memory files that no program has
    mapped) while a relay runs with so many sessions: median and peak."""
    seen, end = [], threading.Event()

    def sample():
        while not end.wait(0.1):
            seen.append(t.cgroup.pss_kib() + t.cgroup.memfd_kib())
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        r = relay(t, messages, sessions, kept)
    finally:
        end.set()
        thread.join()
    if not seen:
        return dict(wrong=r['wrong'] or 'over before memory was looked at')
    return dict(wrong=r['wrong'], samples=len(seen), memory_mib=round(max(seen) / 1024, 1),
                memory_median_mib=round(statistics.median(seen) / 1024, 1), programs=len(t.cgroup.pids()))


def w_out(t, messages, sessions, kept):
    """Connections that wait for the answer to the end of data, five to each of
    many hosts: memory of remote.  Postfix has a process for each and at most 100
    of them by default; it is not measured."""
    with Holder(t.sink_port) as holder:
        before = t.cgroup.pss_kib('remote')
        with smtplib.SMTP('127.0.0.1', t.port, timeout=60) as c:
            for i in range(sessions):
                c.sendmail('sender@client.test', f'user@[127.0.1.{1 + i % OUT_HOSTS}]', 'x' * SIZE)
                holder.turn(0)
        held = holder.hold(sessions, 60)
        pss = t.cgroup.pss_kib('remote')
    return dict(wrong='' if held >= sessions else f'only {held} connections', held=held,
                remote_pss_mib=round(pss / 1024, 1), kib_per_session=round((pss - before) / max(1, held), 2))


def w_idle(t, messages, sessions, kept):
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


# ------------------------------------------------------------------ system calls

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


def w_calls(t, messages, sessions, kept):
    """System calls of all processes of the target, by strace; no times.  Each
    message must have been flushed with its mailbox at least; with a journal many
    share the queue's flush."""
    pids = t.cgroup.pids()
    with tempfile.NamedTemporaryFile('r') as out:
        tracer = subprocess.Popen(['strace', '-f', '-c', '-U', 'calls,name', '-o', out.name,
                                   *(x for p in pids for x in ('-p', str(p)))], stderr=subprocess.DEVNULL)
        try:
            traced(tracer, pids)
            wrong = w_local(t, messages, sessions, kept)['wrong']
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        calls = {m[2]: int(m[1]) for m in re.finditer(r'^\s*(\d+)\s+(\w+)$', out.read(), re.M) if m[2] != 'total'}
    flushes = sum(calls.get(c, 0) for c in FLUSHES) / messages
    if not wrong and flushes <= 1:
        wrong = f'only {flushes:.2f} flushes a message: a mailbox or a queue was not made durable'
    return dict(wrong=wrong, calls_per_message=round(sum(calls.values()) / messages, 1),
                flushes_per_message=round(flushes, 2),
                calls={c: round(n / messages, 2) for c, n in sorted(calls.items(), key=lambda x: -x[1])[:20]})


# Messages are `scale' times what -m says; in a run of all, no more rounds than
# `most'; only the named targets; what the target is started for.
Workload = namedtuple('Workload', 'run sessions kept scale most only needs', defaults=(1, 99, None, {}))
US = ('veredus',)
PAIR = ('postfix', 'postfix-tuned', 'veredus')
LOADED = (*PAIR, 'tools')

WORKLOADS = {
    'local-20-new': Workload(w_local, 20, False, only=LOADED),
    'local-20-kept': Workload(w_local, 20, True, only=LOADED),
    'local-100-new': Workload(w_local, 100, False, only=LOADED),
    'local-100-kept': Workload(w_local, 100, True, only=LOADED),
    'relay-20-new': Workload(w_relay, 20, False, only=LOADED),
    'relay-20-kept': Workload(w_relay, 20, True, only=LOADED),
    'relay-100-new': Workload(w_relay, 100, False, only=LOADED),
    'relay-100-kept': Workload(w_relay, 100, True, only=LOADED),
    'local-1-kept': Workload(w_local, 1, True, scale=0.5),
    'local-1-new': Workload(w_local, 1, False, scale=0.5),
    'relay-1-kept': Workload(w_relay, 1, True, scale=0.5),
    'relay-1-new': Workload(w_relay, 1, False, scale=0.5),
    'fan-1000': Workload(w_fan, 1, False, only=(*PAIR, 'exim')),
    'fanlocal-1000': Workload(w_fanlocal, 1, False, needs=dict(users=FAN)),
    'flush-1': Workload(w_flush, 1, True, scale=0.2, needs=dict(flush_us=FLUSH_US)),
    'flush-32': Workload(w_flush, 32, True, needs=dict(flush_us=FLUSH_US)),
    'memory-100': Workload(w_memory, 100, True),
    'backlog': Workload(w_backlog, 20, True, scale=10, most=1),
    'idle-2000': Workload(w_idle, 2000, False, most=1),
    'out-1000': Workload(w_out, 1000, False, most=1, only=US, needs=dict(hosts=OUT_HOSTS)),
    'calls-20-new': Workload(w_calls, 20, False, scale=0.5, most=1),
    'calls-20-kept': Workload(w_calls, 20, True, scale=0.5, most=1),
}
