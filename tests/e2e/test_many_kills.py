"""kill -9 of random processes, one after the other, while mail is taken, delivered,
relayed and bounced; now and then of all at once. Dozens in the normal run, ten
thousand in check-long. After each round every message that was answered 250 is
found, by its queue id: queued, or delivered. After some rounds all is accounted
for: nothing is lost, and twice comes only what was in flight."""
import os
import random
import signal
import subprocess
import time
from collections import Counter

from harness import wait_until
from load import Accountant, numbers
from test_relay_kills import ANN, IN_FLIGHT, RCPTS, relay  # noqa: F401 (a fixture)

KILLS = int(os.environ.get('VEREDUS_KILLS', 10000 if os.environ.get('VEREDUS_LONG') else 40))
ROUND_S = 2             # a round: master starts again what dies, later and later
ROUND_KILLS = 60
ROUNDS = 10             # between two full accounts
BEN = 'ben@mx.veredus.test'
SPARED = {'smtpd': 2, 'cleanup': 2, 'users': 2, 'qmgr': 4}    # kills in a round: mail is to flow


class Killer:
    def __init__(self, m):
        self.m = m
        self.kills = Counter()  # by program
        self.sink_kills = 0     # those by which a delivery to the sink may be forgotten

    def one(self, left):
        """Kill one process of the instance, not master."""
        pids = [p for p in self.m.pids()[1:] if left.get(self.m.comm(p), 99) > 0]
        if not pids:
            return False
        pid = random.choice(pids)
        name = self.m.comm(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.kills[name] += 1
        left[name] = left.get(name, 99) - 1
        self.sink_kills += name == 'remote'
        return True

    def round(self, n):
        left, end, done = dict(SPARED), time.monotonic() + ROUND_S, 0
        while done < n and time.monotonic() < end:
            time.sleep(random.random() / 15)        # any moment is right
            done += self.one(left)
        self.m.kill_all()
        self.kills['all at once'] += 1
        self.sink_kills += 1

    def total(self):
        return self.kills.total()


def missing(m, promised):
    """Of the promised those that are neither queued nor with ann, by queue id."""
    queued = {r['queue_id'] for r in m.queue()}     # first: what leaves it is delivered
    ann = numbers(m.maildir('ann'))
    return sorted(q for q, n in promised.items() if q not in queued and n not in ann)


def account(m, promised, killer):
    """All is there; then the mailboxes are emptied."""
    try:
        m.wait_empty(120)
    except (AssertionError, subprocess.TimeoutExpired) as e:     # a tool hangs when cleanup does not answer
        spool = m.veredus('spool', '-j', 'status').stdout
        raise AssertionError(f'left in the queue, which is {spool}, counts by status: '
                             f'{m.veredus("queue", "-j", "count").stdout}\n{m.tail()}') from e
    wanted = set(promised.values())
    assert len(wanted) == len(promised), 'queue ids are unique'
    sink = m.sink.counted()
    for who, got in (('ann', numbers(m.maildir('ann'))), ('the sink', sink),
                     ('the sender, a bounce,', numbers(m.maildir('ben')))):
        lost = wanted - set(got)
        assert not lost, f'{who} lost {len(lost)} of {len(wanted)}: {sorted(lost)[:5]}\n{m.tail()}'
        again = sum(c - 1 for c in got.values())
        allowed = killer.sink_kills * IN_FLIGHT if who == 'the sink' else 0
        assert again <= allowed, f'{who} got {again} again: {got.most_common(5)}'
    assert 'makes no sense' not in m.log() and not m.maildir('cat')
    for user in ('ann', 'ben'):
        for f in m.maildir(user):
            f.unlink()
    m.sink.path.write_text('')
    os.truncate(m.log_path, 0)
    killer.sink_kills = 0
    promised.clear()


def test_random_kills(relay):  # noqa: F811
    m, killer = relay, Killer(relay)
    promised, accepted, number = {}, 0, 0
    rounds = 0
    while killer.total() < KILLS:
        a = Accountant(m.port, [ANN, *RCPTS], threads=4, sender=BEN, first=number)
        wait_until(lambda a=a: len(a.promised) > 5, 'mail flows\n' + m.tail())
        killer.round(min(ROUND_KILLS, KILLS - killer.total()))
        a.stop()
        number = a.next
        promised.update(a.promised)
        accepted += len(a.promised)
        rounds += 1
        m.start()
        wait_until(lambda: not missing(m, promised), 'every 250 is queued or delivered', 60)
        if rounds % ROUNDS == 0:
            account(m, promised, killer)
    account(m, promised, killer)
    print(f'{killer.total()} kills in {rounds} rounds, {accepted} messages answered 250, 0 lost: '
          + ', '.join(f'{n} {c}' for n, c in killer.kills.most_common()))
