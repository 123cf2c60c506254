"""System calls of running programs fail, the one or the other, under a small stream of
mail: 4xx or a retry, never a 5xx or a bounce for our own fault, nothing lost, nothing
doubled but what was in flight, nobody hangs or spins. Afterwards mail flows as before.

Programs that lose what they need end and are started again (a failed flush is never
repeated); the rest goes on. Some calls of each program in the normal run; in check-long
each call that it makes, with each error, at several of them."""
import os
import random
import re
import signal
import time

import pytest

from callfaults import Faults, tracer_or_skip
from countsink import CountSink
from harness import alive, wait_until
from load import Accountant, numbers

LONG = bool(os.environ.get('VEREDUS_LONG'))
ANN, BEN, OUT = 'ann@mx.veredus.test', 'ben@mx.veredus.test', 'x@far.test'
IN_FLIGHT = 20          # default_destination_concurrency_limit: deliveries at a time
FIRST_OTHER = 10_000_000
ENOUGH = 3              # faults, or as many as come within WAIT_S
WAIT_S = 1.5
CALM_S, CALM_TICKS = 0.5, 15    # of CPU, of all programs together, when there is nothing to do


class World:
    def __init__(self, make, sink):
        self.sink = sink
        self.m = make(aliases='postmaster: cat\n',
                      transport_maps=f'inline:{{ far.test=smtp:{sink.hop}, near.test=smtp:{sink.hop} }}',
                      minimal_backoff_time='1s', maximal_backoff_time='1s', local_worker_idle='1s')
        self.m.start()
        self.promised, self.next, self.others = {}, 0, 0

    def stream(self, kept=True):
        return Accountant(self.m.port, [ANN, OUT], threads=3, sender=BEN, first=self.next, kept=kept)

    def flows(self, a, more=10):
        n = len(a.promised)
        try:
            wait_until(lambda: len(a.promised) >= n + more, 'mail flows', 40)
        except AssertionError as e:
            raise AssertionError(f'{e}; {a.codes}\n{self.m.tail()}') from e

    def end(self, a):
        a.stop()
        self.next = a.next
        self.promised.update(a.promised)
        wrong = {c: n for c, n in a.codes.items() if c >= 500}
        assert not wrong, f'refused for good: {wrong}\n{self.m.tail()}'

    def ticks(self):
        """CPU that all programs have used."""
        total = 0
        for p in self.m.pids():
            try:
                f = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()
                total += int(f[11]) + int(f[12])
            except OSError:
                pass
        return total

    def is_calm(self):
        before, at = self.ticks(), time.monotonic()
        while time.monotonic() < at + CALM_S:       # a time of quiet is what is measured
            time.sleep(0.05)
        return self.ticks() - before < CALM_TICKS

    def account(self, twice=0):
        """All is there, nothing came back, nobody spins."""
        m = self.m
        m.wait_empty(60)
        wanted = set(self.promised.values())
        assert len(wanted) == len(self.promised), 'queue ids are unique'
        for who, got, most in (('ann', numbers(m.maildir('ann')), 0), ('the sink', self.sink.counted(), twice)):
            lost = wanted - set(got)
            assert not lost, f'{who} lost {len(lost)} of {len(wanted)}: {sorted(lost)[:5]}\n{m.tail()}'
            again = sum(c - 1 for c in got.values())
            few = again <= most and max(got.values()) <= 2
            assert few, f'{who} got {again} again: {got.most_common(5)}\n{m.tail()}'
        assert not m.maildir('ben'), f'came back: {m.maildir("ben")[0].read_text()}'
        assert 'makes no sense' not in m.log() and 'status=bounced' not in m.log()
        wait_until(self.is_calm, 'nobody spins', 10)


@pytest.fixture
def world(make, tmp_path):
    tracer_or_skip()
    with CountSink(tmp_path) as sink:
        sink.start()
        w = World(make, sink)
        yield w
        if w.m.proc is not None:
            w.m.stop()


def wake(w, program):
    """Make it do what it does seldom."""
    m = w.m
    if program == 'forker':             # workers are made anew
        for p in m.pids():
            if m.comm(p).startswith('local-'):
                os.kill(p, signal.SIGKILL)
    elif program == 'master':           # somebody is started again
        m.veredus('status')
        if m.pid('dns'):
            os.kill(m.pid('dns'), signal.SIGKILL)
    elif program == 'remote':           # another destination, so another connection
        w.others += 1
        m.send('x@near.test', f'X-Number: {FIRST_OTHER + w.others}\r\n\r\n{"x" * 500}\r\n', sender=BEN)
    elif program in ('dns', 'users'):
        m.veredus('trace', 'local', ANN, 'ben@mx.veredus.test', 'x@other.test')


def fault(w, program, *rules, kept=True, wait=WAIT_S):
    """One fault under load, for which it waits so long; how many calls failed."""
    m = w.m
    a = w.stream(kept)
    w.flows(a)
    pids = m.pids()
    with Faults(m, program, *rules) as f:
        end = time.monotonic() + WAIT_S
        wake(w, program)
        wait_until(lambda: f.so_far() >= ENOUGH or f.proc.poll() is not None or
                   time.monotonic() > end + (0 if f.so_far() else wait - WAIT_S), 'faults')
        assert f.so_far() < 2000 * (WAIT_S + 1), 'it spins'
    w.flows(a)
    w.end(a)
    print(f'{program} {" ".join(rules)}: {f.count}, {len(a.promised)} taken, {a.refused} refused, '
          f'{a.cut_off} cut off, {sum(not alive(p) for p in pids)} died')
    return sum(f.count.values())


# -- some of each program ------------------------------------------------------------

FEW = {         # program: faults, one after the other; what is joined by "&" at a time
    'smtpd': ['accept4:error=EMFILE:when=2+', 'recvmsg:error=EIO:when=3',
              'epoll_wait:error=EINTR:when=2+2&sendto:error=EINTR:when=3+5'],
    'cleanup': ['pwritev:error=ENOSPC:when=2', 'fdatasync:error=EIO:when=2', 'recvmsg:error=EIO:when=3'],
    'qmgr': ['recvmsg:error=EIO:when=3', 'sendmsg:error=ENOMEM:when=4'],
    'local': ['recvmsg:error=EIO:when=4', 'sendmsg:error=ENOMEM:when=3'],
    'local-worker': ['openat:error=EDQUOT:when=2&writev:error=ENOSPC:when=3', 'renameat:error=EIO:when=2',
                     'fsync:error=EIO:when=1&fdatasync:error=EIO:when=1'],
    'remote': ['socket:error=EMFILE:when=1+', 'recvmsg:error=EIO:when=3', 'recvfrom:error=ECONNRESET:when=5'],
    'forker': ['clone:error=EAGAIN:when=1..2', 'recvfrom:error=EIO:when=1'],
    'users': ['newfstatat:error=EIO:when=1+', 'sendmsg:error=ENOMEM:when=1'],
    'dns': ['sendmsg:error=ENOMEM:when=1'],
    'log': ['write:error=ENOSPC:when=1..9', 'epoll_wait:error=EINTR:when=1+2'],
    'master': ['clone:error=EAGAIN:when=1', 'sendmsg:error=ENOMEM:when=2'],
}
# A call on one of its channels failed: of two that live, or, as it may hit a PING, master's.
BROKE = r'(\w+\[\d+\] and \w+\[\d+\] get a fresh channel|error: master is gone)'
SAID = {        # of which the log has to tell
    'smtpd': ['accept: Too many open files; .* waiting', BROKE],
    'cleanup': ['the journal cannot be written: No space left', 'cannot be written: Input/output error'],
    'qmgr': [BROKE],
    'local': [BROKE],
    'local-worker': [r'dsn=4\.2\.2, status=deferred \(a file in tmp: Disk quota', r'dsn=4\.3\.1, status=deferred',
                     'moving the message to new: Input/output error', 'flushing the m.*: Input/output error'],
    'remote': [r'dsn=4\.3\.2, status=deferred \(no connection can be made here: Too many open files\)', BROKE],
    'forker': ['no process for the delivery can be had', BROKE],
    'users': ['looking up ann: .*Input/output error', BROKE],
    'dns': [],
    'log': [r'\d+ log lines lost'],
    'master': ['cannot start dns: Resource temporarily unavailable'],
}


def twice(program):
    """A message that was taken, and of which the answer was lost (RFC 1047)."""
    return IN_FLIGHT if program == 'remote' else 0


@pytest.mark.parametrize('program', FEW)
def test_calls_of_a_running_program_fail(world, program):
    for rules in FEW[program]:
        assert fault(world, program, *rules.split('&'), kept='accept' not in rules, wait=20), f'{rules}: nothing failed'
    world.account(twice(program))
    for said in SAID[program]:
        wait_until(lambda: re.search(said, world.m.log()), f'the log has {said}\n{world.m.tail()}')


# -- all of them, in check-long --------------------------------------------------------

SPACE = 'EIO ENOSPC EDQUOT'
ERRORS = {
    'accept4': 'EMFILE ENFILE ENOMEM ECONNABORTED EINTR', 'openat': 'EMFILE ENFILE ' + SPACE, 'write': 'EINTR ' + SPACE,
    'writev': 'EINTR ' + SPACE, 'pwritev': 'EINTR ' + SPACE, 'pwrite64': 'EINTR ' + SPACE, 'fsync': SPACE,
    'fdatasync': SPACE, 'sync_file_range': SPACE, 'renameat': SPACE, 'linkat': SPACE, 'unlinkat': SPACE,
    'mkdirat': SPACE, 'newfstatat': 'EIO ENOMEM', 'ftruncate': SPACE, 'fallocate': SPACE, 'io_submit': 'EAGAIN',
    'io_getevents': 'EINTR', 'socket': 'EMFILE ENFILE ENOMEM', 'socketpair': 'EMFILE ENFILE', 'pipe2': 'EMFILE ENFILE',
    'connect': 'EAGAIN EADDRNOTAVAIL ENOMEM', 'recvmsg': 'EIO ENOMEM EINTR', 'sendmsg': 'ENOMEM ENOBUFS EINTR',
    'recvfrom': 'ECONNRESET ENOMEM EINTR', 'sendto': 'ENOMEM EINTR', 'epoll_wait': 'EINTR', 'mmap': 'ENOMEM',
    'clone': 'EAGAIN ENOMEM', 'read': 'EINTR EIO',
}
MAKES = {       # under this load
    'smtpd': 'accept4 recvfrom sendto recvmsg sendmsg write epoll_wait',
    'cleanup': 'pwritev fdatasync recvmsg sendmsg write read epoll_wait newfstatat',
    'qmgr': 'recvmsg sendmsg write epoll_wait', 'local': 'recvmsg sendmsg epoll_wait',
    'local-worker': 'openat writev sync_file_range newfstatat renameat fsync fdatasync io_submit io_getevents '
                    'recvmsg sendto',
    'remote': 'socket connect recvfrom sendto recvmsg sendmsg epoll_wait',
    'forker': 'clone socketpair recvfrom sendmsg epoll_wait', 'users': 'recvmsg sendmsg newfstatat read epoll_wait',
    'dns': 'recvmsg sendmsg epoll_wait', 'log': 'write read recvmsg epoll_wait',
    'master': 'clone recvmsg sendmsg epoll_wait accept4',
}
WHEN = ('1', '2', '3', '5', '8', '2+3', '1..4')
SWEEP_S = float(os.environ.get('VEREDUS_FAULTS_S', 75))     # for each program


@pytest.mark.skipif(not LONG, reason='for check-long: minutes')
@pytest.mark.parametrize('program', MAKES)
def test_any_call_of_a_running_program_fails(world, program):
    cases = [f'{c}:error={e}:when={w}' for c in MAKES[program].split() for e in ERRORS[c].split() for w in WHEN]
    random.shuffle(cases)
    end, done, failed = time.monotonic() + SWEEP_S, 0, 0
    for rule in cases:
        if time.monotonic() > end:
            break
        if done % 4 == 3:                   # who dies often is started later and later
            world.m.stop()
            world.m.start()
        try:
            failed += fault(world, program, rule, kept='accept' not in rule)
            world.account(twice(program) * (done + 1))
        except AssertionError as e:
            raise AssertionError(f'{program} {rule}: {e}') from e
        done += 1
    print(f'{program}: {done} faults of {len(cases)}, {failed} calls failed, {len(world.promised)} messages, 0 lost')
    assert done > 3 and failed > 0
