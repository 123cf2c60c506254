"""The machine fails: full disks, broken spool files, garbage on sockets."""
import os
import random
import socket
import subprocess

import pytest

from harness import ROOT, wait_until


def test_no_space_known_in_advance_is_452_to_mail(make):
    m = make(queue_minfree='1000T')
    m.start()
    with m.client() as c:
        c.hello()
        r = c.cmd('MAIL FROM:<a@b.test>')
        assert (r.code, r.esc) == (452, '4.3.1')
        assert c.cmd('RCPT TO:<ann@mx.veredus.test>').code == 503
    m.stop()


@pytest.fixture
def small_disk(tmp_path):
    """An ext4 of 24 MiB on a loop device; where there is none, a tmpfs."""
    img, mnt = tmp_path / 'img', tmp_path / 'mnt'
    mnt.mkdir()
    with open(img, 'wb') as f:
        f.truncate(24 << 20)
    subprocess.run(['mkfs.ext4', '-q', '-m', '0', str(img)], check=True)
    r = subprocess.run(['mount', '-o', 'loop', str(img), str(mnt)], capture_output=True)
    if r.returncode:
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'small', str(mnt)], check=True)
    os.chmod(mnt, 0o755)
    for p in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(p, 0o755)
    yield mnt
    subprocess.run(['umount', str(mnt)], check=True)


@pytest.mark.skipif(not ROOT, reason='needs root: mounts a small disk')
def test_disk_full_never_250_and_nothing_lost(small_disk, make):
    m = make(queue_directory=small_disk / 'spool', queue_minfree=0)
    m.spool = small_disk / 'spool'
    m.start()
    os.rename(m.home['ann'], m.home['ann'].with_suffix('.away'))    # ann's mail stays queued
    codes, accepted = set(), 0
    body = b'Subject: big\r\n\r\n' + b'x' * 76 * 8000 + b'\r\n'
    for _ in range(80):
        with m.client() as c:
            c.hello()
            if c.cmd('MAIL FROM:<a@b.test>').code != 250:
                codes.add(452)
                continue
            if c.cmd('RCPT TO:<ann@mx.veredus.test>').code != 250:
                continue
            c.cmd('DATA')
            r = c.dot(body)
            codes.add(r.code)
            accepted += r.code == 250
            assert r.code in (250, 451, 452), r
    assert 250 in codes and codes & {451, 452}
    assert len({r['queue_id'] for r in m.queue()}) == accepted
    os.rename(m.home['ann'].with_suffix('.away'), m.home['ann'])
    m.veredus('flush')
    m.mail('ann', accepted, 60)
    m.wait_empty()
    with m.client() as c:               # and it goes on
        c.hello()
        wait_until(lambda: c.cmd('MAIL FROM:<a@b.test>').code == 250, 'mail is taken again')
    m.send('ben@mx.veredus.test')
    m.mail('ben')
    m.stop()


def test_broken_spool_files_are_set_aside_and_mail_flows(make):
    m = make(minimal_backoff_time='1s')
    m.start()
    os.rename(m.home['ann'], m.home['ann'].with_suffix('.away'))
    ids = [m.send('ann@mx.veredus.test', f'Subject: {i}\r\n\r\nx\r\n') for i in range(6)]
    wait_until(lambda: len(m.queue()) == 6, 'six messages')
    m.stop()                                       # at rest: files only
    assert len(m.queue_files()) == 6
    rnd = random.Random(1)
    files = sorted(m.queue_files())
    files[0].write_bytes(b'')
    files[1].write_bytes(files[1].read_bytes()[:50])
    b = bytearray(files[2].read_bytes())
    b[100] ^= 1                                    # envelope or content
    files[2].write_bytes(bytes(b))
    files[3].write_bytes(rnd.randbytes(2000))
    os.rename(m.home['ann'].with_suffix('.away'), m.home['ann'])
    m.start()
    m.mail('ann', 2)
    m.wait_log('corrupt')
    wait_until(lambda: len(list(m.spool.glob('queue/?/*.corrupt'))) == 4, 'four set aside\n' + m.tail())
    assert len(m.maildir('ann')) == 2
    assert len(ids) == len(set(ids))
    m.stop()


def test_garbage_on_every_socket_stops_nothing(mta):
    rnd = random.Random(2)
    paths = [p for p in mta.run.rglob('*') if p.is_socket()]
    assert len(paths) >= 5
    before = {p: mta.pid(p) for p in ('smtpd', 'qmgr', 'cleanup')}
    for path in paths:
        for size in (0, 1, 11, 12, 13, 100, 5000, 200000):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(str(path))
                try:
                    s.sendall(rnd.randbytes(size))
                    if size % 2:
                        s.recv(100)
                except OSError:
                    pass
    for size in (1, 100, 5000, 300000):
        with socket.create_connection(('127.0.0.1', mta.port)) as s:
            s.settimeout(5)
            try:
                s.sendall(rnd.randbytes(size))
                s.recv(1000)
            except OSError:
                pass
    with socket.create_connection(('127.0.0.1', mta.port)) as s:     # a TLS hello
        s.settimeout(10)
        s.recv(100)
        s.sendall(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + rnd.randbytes(400) + b'\r\n')
        while s.recv(1000):
            pass
    mta.send('ann@mx.veredus.test')
    mta.mail('ann')
    assert before == {p: mta.pid(p) for p in before}, 'no program died'


def test_many_idle_tools_do_not_block_the_admin(mta):
    held = []
    for _ in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(mta.run / 'public' / 'mailq'))
        held.append(s)
    mta.send('ann@mx.veredus.test')
    mta.mail('ann')
    for s in held:
        s.close()
    wait_until(lambda: mta.tool('mailq').returncode == 0, 'mailq answers again')
