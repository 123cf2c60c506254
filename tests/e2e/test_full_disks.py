"""Small disks that are full, or whose user has used up his quota: those of the homes
(Maildir and mbox), of the drop directory, of the log, of the spool at a start. Mail
waits or is refused for now, mailboxes stay as they were, and all goes on when there
is room."""
import json
import os
import re
import subprocess

import pytest

from disks import disk_or_skip
from harness import tool, wait_until
from test_mbox import read

ANN = 'ann@mx.veredus.test'
TEXT = 'Subject: n%d\r\n\r\n' + ('x' * 70 + '\r\n') * 800      # 57 KB


@pytest.fixture
def disk():
    made = []

    def one(kind='ext4', octets=12 << 20):
        made.append(disk_or_skip(kind, octets))
        return made[-1]
    yield one
    for d in made:
        d.remove()


@pytest.fixture
def on_disk(disk, make):
    """The fixtures end in the other order: no program keeps the disk busy."""
    def one(kind='ext4', octets=12 << 20, **kw):
        d = disk(kind, octets)
        return d, make(**{k: v(d) if callable(v) else v for k, v in kw.items()})
    return one


# -- homes -----------------------------------------------------------------------------

class Box:
    """ann's mailbox on a disk of its own; the spool lies elsewhere."""

    def __init__(self, on_disk, kind, mbox):
        self.disk, self.m = on_disk(kind, place=lambda d: d.top, minimal_backoff_time='1h',
                                    **(dict(home_mailbox=None) if mbox else {}))
        self.m.spool = self.m.dir / 'spool'
        self.m.write_conf(queue_directory=self.m.spool)
        self.kind, self.mbox = kind, mbox
        self.path = self.m.mail_spool / 'ann' if mbox else self.m.home['ann'] / 'Maildir'
        self.m.start()

    def mails(self):
        return len(read(self.path)) if self.mbox else len(self.m.maildir('ann'))

    def octets(self):
        """All that is there: of an mbox, or of all files of a Maildir by name."""
        if self.mbox:
            return self.path.read_bytes()
        return {str(p.relative_to(self.path)): p.read_bytes() for p in self.path.rglob('*') if p.is_file()}

    def fill(self, leave):
        (self.disk.limit if self.kind == 'quota' else self.disk.fill)(leave)

    def room(self):
        self.disk.limit(None) if self.kind == 'quota' else self.disk.make_room()


@pytest.mark.parametrize('mbox', [False, True], ids=['maildir', 'mbox'])
@pytest.mark.parametrize('kind, esc', [('ext4', '4.3.1'), ('quota', '4.2.2')])
@pytest.mark.parametrize('leave', [0, 20480], ids=['nothing', 'a-part'])
def test_no_room_in_a_home(on_disk, kind, esc, mbox, leave):
    """Not one octet fits, or some of the message do."""
    b = Box(on_disk, kind, mbox)
    m = b.m
    m.send(ANN, TEXT % 1)
    wait_until(lambda: b.mails() == 1, 'the first is there')
    m.wait_empty()
    b.fill(leave)
    before = b.octets()
    ids = {m.send(ANN, TEXT % i) for i in (2, 3)}
    wait_until(lambda: all(r['attempts'] for r in m.queue()), 'both were tried')
    rows = m.queue()
    assert {r['queue_id'] for r in rows} == ids and {r['status'] for r in rows} == {'deferred'}
    assert all(f'dsn={esc}, status=deferred' in x for x in m.log().splitlines() if 'status=deferred' in x), m.tail()
    assert b.octets() == before, 'the mailbox is as it was'
    b.room()
    assert m.veredus('flush').returncode == 0
    m.wait_empty()
    assert b.mails() == 3
    texts = [bytes(x) for x in read(b.path)] if mbox else [f.read_bytes() for f in m.maildir('ann')]
    assert sorted(re.search(rb'Subject: n(\d)', x).group(1) for x in texts) == [b'1', b'2', b'3']
    assert len({x.count(b'x' * 70) for x in texts}) == 1, 'each is whole'
    if mbox:
        assert b.octets().startswith(before)
    m.stop()


# -- the drop directory ------------------------------------------------------------------

@pytest.mark.parametrize('kind, leave', [('ext4', 0), ('ext4', 8192), ('quota', 8192)])
def test_no_room_for_what_sendmail_drops(on_disk, kind, leave):
    """It exits with 75, says why, and leaves nothing half behind."""
    user = 65534
    disk, m = on_disk(kind, queue_directory=lambda d: d.top / 'spool')
    m.spool = disk.top / 'spool'
    m.start()
    m.stop()                                # made, and nobody answers
    text = ('Subject: dropped\n\n' + 'y' * 70 + '\n' * 1000).encode() * 40
    (disk.limit if kind == 'quota' else disk.fill)(leave)
    for _ in range(2):
        r = m.tool('sendmail', 'ann', input=text, user=user)
        assert r.returncode == 75, r
        said = r.stderr.decode()
        assert re.search('No space left|quota exceeded', said) and 'sendmail: ' in said, said
        assert not list((m.spool / 'drop').iterdir()), 'nothing half is left'
    disk.limit(None) if kind == 'quota' else disk.make_room()
    assert m.tool('sendmail', 'ann', input=text, user=user).returncode == 0
    m.start()
    assert len(m.mail('ann')) == 1
    m.stop()


# -- the log -----------------------------------------------------------------------------

def test_no_room_for_the_log(on_disk):
    """Mail flows; what could not be written is counted, and said when there is room."""
    disk, m = on_disk(log=lambda d: f'file:{d.top}/log')
    m.log_path = disk.top / 'log'
    m.start()
    m.send(ANN)
    m.mail('ann')
    disk.fill()
    size, n = -1, 1
    while size != m.log_path.stat().st_size:    # until what the file has in reserve is used up
        size, n = m.log_path.stat().st_size, n + 30
        for _ in range(30):
            m.send(ANN)
        m.mail('ann', n)
    for _ in range(60):
        m.send(ANN)
    m.mail('ann', n + 60)
    disk.make_room()
    m.send(ANN)
    m.mail('ann', n + 61)
    # a short line may have found the last octets of a block meanwhile, and said so
    wait_until(lambda: sum(map(int, re.findall(r'(\d+) log lines lost: they could not be written', m.log()))) > 60,
               'the lost lines are counted')
    qid = m.send(ANN)
    m.wait_log(f'{qid}: to=<{ANN}>.*status=sent')
    m.stop()


# -- the spool, at a start -----------------------------------------------------------------

def start_by_hand(m):
    m.out = open(m.dir / 'out', 'ab')
    m.proc = subprocess.Popen([tool('veredus'), '-c', str(m.conf), 'start', '-f'], stdin=subprocess.DEVNULL,
                              stdout=m.out, stderr=m.out, start_new_session=True)


def status_of(m, program):
    r = m.veredus('status', '-j')
    rows = [json.loads(x) for x in r.stdout.splitlines()]
    return next((x for x in rows if x['program'] == program), None)


def test_a_start_on_a_full_disk_waits_for_room(on_disk):
    """Not one segment of the journal can be made: no room, no start; it says so where it
    can be seen, and goes on by itself."""
    disk, m = on_disk(octets=40 << 20, queue_directory=lambda d: d.top / 'spool', minimal_backoff_time='1h')
    m.spool = disk.top / 'spool'
    m.start()
    os.rename(m.home['ann'], m.home['ann'].with_suffix('.away'))
    ids = {m.send(ANN, TEXT[:8000] % i) for i in range(60)}
    m.stop()
    disk.fill()
    m.write_conf(journal_segment_size='4M')         # none of the old can be used again
    start_by_hand(m)
    row = wait_until(lambda: (x := status_of(m, 'cleanup')) and x['state'] == 'down' and x['walls'] and x, 'cleanup waits')
    assert 'No space left on device: it goes on by itself when there is room' in row['walls'], row
    assert status_of(m, 'master')['state'] == 'starting'
    m.wait_log(r'error: cleanup\[\d+\]: the spool in .*: No space left on device: it goes on by itself')
    wait_until(lambda: 'the start waits: the spool in' in (m.dir / 'out').read_text(), 'who starts it is told')
    wait_until(lambda: len(re.findall(r'cleanup\[\d+\] died: exit 75', m.log())) > 3, 'more than a few tries')
    assert m.proc.poll() is None, m.tail()
    disk.make_room()
    wait_until(m.is_up, 'it goes on', 40)
    assert status_of(m, 'cleanup')['state'] == 'up' and 'No space' not in status_of(m, 'cleanup')['walls']
    wait_until(lambda: {r['queue_id'] for r in m.queue()} == ids, 'all are there')
    os.rename(m.home['ann'].with_suffix('.away'), m.home['ann'])
    assert m.veredus('flush').returncode == 0
    m.mail('ann', 60)
    m.wait_empty()
    m.stop()


def test_a_start_that_waits_for_room_can_be_stopped(on_disk):
    disk, m = on_disk(octets=40 << 20, queue_directory=lambda d: d.top / 'spool')
    m.spool = disk.top / 'spool'
    m.start()
    m.stop()
    disk.fill()
    m.write_conf(journal_segment_size='4M')
    start_by_hand(m)
    wait_until(lambda: (x := status_of(m, 'cleanup')) and x['state'] == 'down', 'cleanup waits')
    assert m.veredus('stop').returncode == 0
    m.proc.wait(20)
    m.proc = None
    disk.make_room()
    m.start()
    m.stop()


def test_without_a_journal_the_old_segments_are_read_and_removed(make):
    """journal_segments = 0 after a crash: what lived there lives on; after a clean stop
    all of it has files, and the next start removes the segments."""
    m = make(minimal_backoff_time='1h')
    m.start()
    os.rename(m.home['ann'], m.home['ann'].with_suffix('.away'))
    ids = {m.send(ANN, TEXT[:3000] % i) for i in range(20)}

    def segments():
        return sorted(p.name for p in (m.spool / 'journal').iterdir())

    def all_there():
        wait_until(lambda: {r['queue_id'] for r in m.queue()} == ids, 'all are there')
    m.kill_all()
    assert len(m.queue_files()) < 20, 'some live in the journal only'
    m.write_conf(journal_segments='0')
    for _ in range(2):                  # and a crash changes nothing
        m.start()
        m.wait_log('no journal is wanted, but there is one, and mail in it: it goes on until the next clean stop')
        all_there()
        assert segments()
        m.kill_all()
    m.start()
    m.stop()
    assert len(m.queue_files()) == 20
    m.start()
    all_there()
    assert segments() == []
    ids.add(m.send(ANN, TEXT % 20))
    m.kill_all()
    m.start()
    all_there()
    assert segments() == []
    os.rename(m.home['ann'].with_suffix('.away'), m.home['ann'])
    assert m.veredus('flush').returncode == 0
    m.mail('ann', 21)
    m.wait_empty()
    m.write_conf(journal_segments='4')
    m.stop()
    m.start()
    m.send(ANN)
    m.mail('ann', 22)
    assert segments()
    m.stop()
