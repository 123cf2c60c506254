"""Whole programs start on a disk that is full, and on a journal of another version."""
import os
import struct
import subprocess

import pytest

from harness import wait_until
from test_faults import ROOT, small_disk  # noqa: F401 (a fixture)

ANN = 'ann@mx.veredus.test'
BODY = b'Subject: big\r\n\r\n' + (b'x' * 70 + b'\r\n') * 700


def fill(path):
    """Take all that is left of the disk."""
    with open(path, 'wb', buffering=0) as f:
        for size in (1 << 16, 4096, 512):
            try:
                while True:
                    f.write(b'\0' * size)
            except OSError:
                pass
        os.fsync(f.fileno())


def send(m):
    """The last reply of a transaction."""
    with m.client() as c:
        c.hello()
        for line in ('MAIL FROM:<a@b.test>', f'RCPT TO:<{ANN}>', 'DATA'):
            r = c.cmd(line)
            if r.code not in (250, 354):
                return r
        return c.dot(BODY)


def fill_the_journal(m):
    taken = 0
    while True:
        r = send(m)
        if r.code != 250:
            assert r.code == 452, r
            return taken
        taken += 1


@pytest.mark.skipif(not ROOT, reason='needs root: mounts a small disk')
@pytest.mark.parametrize('how', ['kill', 'stop'])
def test_a_full_disk_keeps_nothing_from_starting(small_disk, make, how):  # noqa: F811
    m = make(queue_directory=small_disk / 'spool', queue_minfree=0, journal_segment_size='1M', journal_segments=4)
    m.spool = small_disk / 'spool'
    m.start()
    away = m.home['ann'].with_suffix('.away')
    os.rename(m.home['ann'], away)                 # ann's mail stays queued
    fill(small_disk / 'filler')
    taken = fill_the_journal(m)
    assert taken > 20                              # most of the ring: the segments are there
    for _ in range(2):
        if how == 'kill':
            m.kill_all()
        else:
            m.stop()
            m.wait_log('not at rest')              # and it says why
        assert m.veredus('spool', 'check').returncode == 0
        m.start()
        wait_until(lambda: len({r['queue_id'] for r in m.queue()}) == taken, f'all {taken} are back\n' + m.tail())
        r = send(m)
        assert (r.code, r.esc) == (452, '4.3.1'), r
    m.wait_log('the journal is gone on with as it is')
    os.rename(away, m.home['ann'])
    m.veredus('flush')
    m.mail('ann', taken, 60)
    m.wait_empty()
    assert (small_disk / 'filler').exists()        # what was delivered has made room
    wait_until(lambda: send(m).code == 250, 'mail is taken again\n' + m.tail())
    m.mail('ann', taken + 1)
    m.stop()


def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def set_version(m, version):
    """Make all batches of the journal such of that version; how many there are."""
    n = 0
    for path in (m.spool / 'journal').iterdir():
        d = bytearray(path.read_bytes())
        for at in range(0, len(d), 4096):
            if d[at:at + 7] == b'VRDSJ\0\0':
                d[at + 7] = version
                d[at + 60:at + 64] = struct.pack('<I', crc32c(bytes(d[at:at + 60])))
                n += 1
        path.write_bytes(d)
    return n


def test_a_journal_of_another_version_stops_the_start(make):
    m = make()
    m.start()
    away = m.home['ann'].with_suffix('.away')
    os.rename(m.home['ann'], away)
    ids = {m.send(ANN) for _ in range(3)}
    m.kill_all()
    assert set_version(m, 2) > 3
    names = sorted(p.name for p in (m.spool / 'journal').iterdir())
    r = m.veredus('spool', 'check')
    assert r.returncode == 1 and 'of another version' in r.stdout + r.stderr
    with pytest.raises(AssertionError) as e:
        m.start()
    assert 'its journal is of another version' in str(e.value) + m.log()
    m.kill_all()
    assert sorted(p.name for p in (m.spool / 'journal').iterdir()) == names
    set_version(m, 1)                              # nothing was written over
    os.rename(away, m.home['ann'])
    m.start()
    m.veredus('flush')
    m.mail('ann', len(ids))
    m.wait_empty()
    m.stop()
