"""The power fails under load (promise P1). Spool, Maildirs and mbox files lie on an ext4 or
XFS of their own, which is shut down as a power cut would (nothing that was not
flushed is left), unmounted, mounted, and the system started again: every message
that was answered 250 is delivered or queued, by its queue id."""
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from countsink import CountSink
from disks import disk_or_skip
from harness import SRC, wait_until
from load import Accountant, numbers
from test_mbox import read

LONG = bool(os.environ.get('VEREDUS_LONG'))
CUTS = int(os.environ.get('VEREDUS_CUTS', 80 if LONG else 3))    # of each of the three
ROUND = 5                       # cuts between two full accounts
AT = '@mx.veredus.test'
OUT = 'x@far.test'
LARGE = b'x' * 100_000          # by a file of its own
FIRST_LARGE = 10_000_000        # their numbers
SYNCDIR = Path(os.environ.get('VEREDUS_BUILD', SRC / 'build')) / 'tests' / 'syncdir'
IN_FLIGHT = 20                  # to the sink at a time, at most, here


class World:
    """A system on a disk, and all that was ever promised."""

    def __init__(self, make, disk, sink, mbox):
        self.disk, self.sink, self.mbox = disk, sink, mbox
        where = dict(home_mailbox=None) if mbox else {}
        self.m = make(place=disk.top, minimal_backoff_time='1s', maximal_backoff_time='1s',
                      transport_maps=f'inline:{{ far.test=smtp:{sink.hop} }}', **where)
        os.sync()
        self.promised, self.cuts, self.broken = {}, 0, 0
        self.next, self.next_large = 0, FIRST_LARGE
        self.away = False

    def place(self, user):
        return self.m.mail_spool / user if self.mbox else self.m.home[user]

    def put_away(self, away):
        """cat's mail cannot be delivered, or again can: it stays queued."""
        if away == self.away:
            return
        m = self.m
        if self.mbox:
            (self.place('cat').parent / 'cat.lock').touch() if away else \
                (self.place('cat').parent / 'cat.lock').unlink(missing_ok=True)
        else:
            a, b = m.home['cat'], m.home['cat'].with_suffix('.away')
            os.rename(a, b) if away else os.rename(b, a)
        os.sync()
        self.away = away

    def there(self, user):
        """How often each number has come to a user."""
        if self.mbox:
            return numbers_of([bytes(x) for x in read(self.place(user))])
        home = self.m.home[user]
        if user == 'cat' and self.away:         # what came before lies there
            home = home.with_suffix('.away')
        return numbers(home.glob('Maildir/new/*'))

    # -- one cut --------------------------------------------------------------------

    def load(self, more):
        """Mail flows; the power fails at some moment of it."""
        a = Accountant(self.m.port, [f'ann{AT}', f'cat{AT}', OUT], threads=4, first=self.next)
        b = Accountant(self.m.port, [f'ann{AT}', f'cat{AT}'], threads=1, first=self.next_large, body=LARGE)
        wait_until(lambda: len(a.promised) >= more, 'mail flows\n' + self.m.tail())
        wait_until(lambda: a.in_hand > 0 and self.m.in_spool() > 0, 'something is in flight')
        time.sleep(random.random() / 50)        # any moment is right
        self.disk.cut()
        a.go = b.go = False
        self.m.kill_all()
        a.stop()
        b.stop()
        self.next, self.next_large = a.next, b.next
        self.promised.update(a.promised)
        self.promised.update(b.promised)
        self.broken += a.cut_off + a.refused
        self.cuts += 1

    def power_is_back(self):
        self.disk.again()
        self.m.start()

    def queued(self):
        return {r['queue_id'] for r in self.m.queue()}

    def missing(self):
        """Promised, and neither queued nor with cat, who is the last to get it."""
        queued = self.queued()          # first: what leaves it is delivered by then
        cat = self.there('cat')
        return sorted(q for q, n in self.promised.items() if q not in queued and n not in cat)

    # -- accounts ---------------------------------------------------------------------

    def nothing_is_lost(self):
        try:
            wait_until(lambda: not self.missing(), 'every 250 is delivered or queued', 60)
        except AssertionError as e:
            raise AssertionError(f'lost after cut {self.cuts}: {self.missing()[:5]}\n{self.m.tail()}') from e

    def full_account(self):
        self.put_away(False)
        self.m.veredus('flush')
        self.m.wait_empty(90)
        wanted = set(self.promised.values())
        assert len(wanted) == len(self.promised), 'queue ids are unique'
        for who, got in (('ann', self.there('ann')), ('cat', self.there('cat')), ('sink', self.sink.counted())):
            lost = {n for n in wanted if who != 'sink' or n < FIRST_LARGE} - set(got)
            assert not lost, f'{who} lost {len(lost)} of {len(wanted)}: {sorted(lost)[:5]}\n{self.m.tail()}'
            twice = sum(c - 1 for c in got.values())
            allowed = self.cuts * IN_FLIGHT if who == 'sink' else 0
            assert twice <= allowed, f'{who} got {twice} again after {self.cuts} cuts'


def numbers_of(messages):
    import re
    from collections import Counter
    return Counter(int(re.search(rb'^X-Number: (\d+)$', b, re.M).group(1)) for b in messages)


@pytest.fixture(params=['ext4', 'xfs', 'ext4-mbox'])
def world(request, make, tmp_path):
    kind, _, mbox = request.param.partition('-')
    disk = disk_or_skip(kind, 400 << 20)
    try:
        with CountSink(tmp_path) as sink:
            sink.start()
            w = World(make, disk, sink, bool(mbox))
            w.m.start()
            yield w
            if w.m.proc is not None:
                w.m.kill_all()
    finally:
        disk.remove()


def test_power_cuts_under_load(world, request):
    w = world
    for i in range(CUTS):
        w.put_away(i % ROUND < ROUND - 2)       # and back while something is queued
        w.load(random.randrange(1, 60))
        w.power_is_back()
        w.nothing_is_lost()
        if i % ROUND == ROUND - 1:
            w.full_account()
    w.full_account()
    assert w.broken > 0, 'transactions were in flight'
    w.m.stop()
    print(f'{request.node.name}: {w.cuts} power cuts, {len(w.promised)} messages answered 250, 0 lost')


@pytest.mark.parametrize('kind', ['ext4', 'xfs'])
def test_a_dead_disk_makes_no_name_durable(kind):
    """XFS says that a directory is flushed when it has shut itself down since the
    name was made: a large message's, or one in a Maildir."""
    disk = disk_or_skip(kind)
    try:
        r = subprocess.run([SYNCDIR, disk.top], capture_output=True, text=True, timeout=60)
        assert (r.returncode, r.stdout) == (0, 'Input/output error\n'), r.stderr
        disk.again()
        assert not (disk.top / 'a').exists(), 'it was not'
    finally:
        disk.remove()
