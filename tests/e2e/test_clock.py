"""The clock jumps, a year ahead or a day back, under running programs and between two
of their lives. A library in front of libc (clockshim.c) does it: each program is
started by a line of shell that puts it there, as master hands nothing on that
could."""
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

import harness
from harness import PROGRAMS, wait_until

ANN = 'ann@mx.veredus.test'
SENDER = 'ben@mx.veredus.test'
DAY = 86400
YEAR = 365 * DAY


class Clock:
    """An instance whose programs' wall clock is `by' seconds off."""

    def __init__(self, make, tmp_path, **settings):
        os.chmod(tmp_path, 0o755)
        lib, self.path = tmp_path / 'clock.so', tmp_path / 'offset'
        self.path.write_bytes(struct.pack('q', 0))
        os.chmod(self.path, 0o644)
        subprocess.run(['cc', '-shared', '-fPIC', '-o', lib, Path(__file__).parent / 'clockshim.c'], check=True)
        real = Path(harness.PREFIX) / 'libexec' / 'veredus'
        programs = tmp_path / 'programs'
        programs.mkdir(mode=0o755)
        for p in real.iterdir():
            w = programs / p.name
            w.write_text(f'#!/bin/sh\nCLOCKSHIM={self.path} LD_PRELOAD={lib} exec {p} "$@"\n')
            w.chmod(0o755)
        r = subprocess.run([real / 'log'], env=dict(LD_PRELOAD=str(lib)), capture_output=True, text=True, timeout=60)
        if 'AddressSanitizer' in r.stderr or 'ASan runtime' in r.stderr:
            pytest.skip('a library in front of the sanitizer')
        self.m = make(daemon_directory=programs, **settings)
        for p in tmp_path.parents:
            if p.stat().st_uid == os.geteuid() and str(p) != '/tmp':
                os.chmod(p, p.stat().st_mode | 0o055)

    def jump(self, by):
        with open(self.path, 'r+b') as f:
            now = struct.unpack('q', f.read(8))[0]
            f.seek(0)
            f.write(struct.pack('q', now + by))

    def off(self):
        return struct.unpack('q', self.path.read_bytes())[0]

    def shows(self):
        """The programs really see it: the date in a message that they took."""
        year = time.gmtime(time.time() + self.off())
        return time.strftime('%b %Y', year).encode()


@pytest.fixture
def clock(make, tmp_path):
    made = []

    def one(**settings):
        made.append(Clock(make, tmp_path, **settings))
        return made[-1]
    yield one
    for c in made:
        if c.m.proc is not None:
            c.m.stop()


def away(m, is_away=True):
    """Nothing can be delivered to ann, or again can."""
    a, b = m.home['ann'], m.home['ann'].with_suffix('.away')
    os.rename(a, b) if is_away else os.rename(b, a)


def deferred(m, attempts=1):
    return wait_until(lambda: [r for r in m.queue() if r['status'] == 'deferred' and r['attempts'] >= attempts],
                      f'it waits after {attempts} attempts\n{m.tail()}')


def pids_of(m):
    return {p: m.pid(p) for p in PROGRAMS}


@pytest.mark.parametrize('by', [YEAR, -DAY], ids=['a-year-ahead', 'a-day-back'])
def test_a_jump_while_it_runs(clock, by):
    """Who waits is tried when it would have been, and not given up for the jump; open
    sessions stay; ids go on rising; nobody takes anybody for dead."""
    c = clock(minimal_backoff_time='4s', maximal_backoff_time='4s', smtpd_timeout='60s')
    m = c.m
    m.start()
    away(m)
    old = m.send(ANN, sender=SENDER)
    deferred(m)
    before = pids_of(m)
    with m.client() as s:
        s.hello()
        s.open('cat@mx.veredus.test', SENDER)
        c.jump(by)
        assert s.dot(b'Subject: over the jump\r\n\r\nx\r\n').code == 250
        new = m.send('cat@mx.veredus.test', sender=SENDER)
        away(m, False)
        t0 = time.monotonic()
        m.mail('ann', 1, 20)
        assert time.monotonic() - t0 < 12, 'it was tried when it would have been'
        assert s.cmd('NOOP').code == 250
    m.wait_empty()
    mails = m.mail('cat', 2)
    assert any(c.shows() in x for x in mails), 'the programs see the jump'
    assert new > old, 'ids rise'
    assert not m.maildir('ben') and 'status=bounced' not in m.log(), m.tail()
    assert pids_of(m) == before and 'killed' not in m.log(), m.tail()


@pytest.mark.parametrize('by', [YEAR, -DAY], ids=['a-year-ahead', 'a-day-back'])
@pytest.mark.parametrize('clean', [True, False], ids=['stopped', 'killed'])
def test_a_jump_between_two_lives(clock, by, clean):
    """What waited is tried soon after the start, and delivered."""
    c = clock(minimal_backoff_time='3s', maximal_backoff_time='3s')
    m = c.m
    m.start()
    away(m)
    old = m.send(ANN, sender=SENDER)
    deferred(m)
    m.stop() if clean else m.kill_all()
    c.jump(by)
    away(m, False)
    m.start()
    m.mail('ann', 1, 20)
    m.wait_empty()
    new = m.send('cat@mx.veredus.test', sender=SENDER)
    assert c.shows() in m.mail('cat')[0] and new > old
    assert not m.maildir('ben') and 'status=bounced' not in m.log(), m.tail()


@pytest.mark.parametrize('restart', [False, True], ids=['running', 'restarted'])
def test_old_by_a_jump_is_tried_before_it_is_given_up(clock, restart):
    """A year ahead all is older than its lifetime: none comes back before it has been
    tried since, and failed again; then it does."""
    c = clock(minimal_backoff_time='2s', maximal_backoff_time='2s', maximal_queue_lifetime='1d')
    m = c.m
    m.start()
    away(m)
    qid = m.send(ANN, sender=SENDER)
    deferred(m)
    if restart:
        m.stop()
    c.jump(YEAR)
    at = len(m.log())
    if restart:
        m.start()
    notice = m.mail('ben', 1, 30)[0]
    assert b'Final-Recipient: rfc822; ' + ANN.encode() in notice and b'4.4.7' in notice or b'5.4.7' in notice
    lines = [x for x in m.log()[at:].splitlines() if f'{qid}: to=<{ANN}>' in x]
    assert lines and 'status=' in lines[0], m.tail()
    away(m, False)
    m.wait_empty()
    assert not m.maildir('ann')


def test_a_retry_does_not_wait_for_the_day_to_come_again(clock):
    """Backward while it waits: several retries come at their pace; forward again as well."""
    c = clock(minimal_backoff_time='1s', maximal_backoff_time='1s')
    m = c.m
    m.start()
    away(m)
    m.send(ANN, sender=SENDER)
    n = deferred(m)[0]['attempts']
    for by in (-DAY, DAY, -YEAR, YEAR):
        c.jump(by)
        n = deferred(m, n + 2)[0]['attempts']
    away(m, False)
    m.mail('ann')
    m.wait_empty()
    assert not m.maildir('ben'), m.tail()
