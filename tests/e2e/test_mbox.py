"""Delivery into mbox files: the mail spool, its worker and its walls, locks of
other programs, what others put into the spool, and what a crash leaves."""
import fcntl
import mailbox
import os
import pwd
import stat
import subprocess
import threading

import pytest

from harness import MAIL_GID, ROOT, wait_until
from test_local import AT, deferred, has_hooks, status, workers


@pytest.fixture
def spooled(make):
    """An instance without home_mailbox: mbox files in the mail spool."""
    def build(**settings):
        m = make(home_mailbox=None, **settings)
        m.box = m.mail_spool
        return m
    return build


def read(path):
    """All messages, as Python's mailbox module sees them; without a lock, so what
    is no mail yet (mbox.h) is left out."""
    try:
        box = mailbox.mbox(path, create=False)
        with open(path, 'rb') as f:
            if f.read(1) == b'\0':
                return []
    except (mailbox.NoSuchMailboxError, FileNotFoundError):
        return []
    return list(box)


def wait_mail(m, user, count=1):
    wait_until(lambda: len(read(m.box / user)) >= count, f'{count} for {user}\n{m.tail()}')
    m.wait_empty()
    got = read(m.box / user)
    assert len(got) == count
    assert not (m.box / f'{user}.lock').exists()
    return got


# -- what is delivered ------------------------------------------------------------------


def test_default_is_the_mail_spool(spooled):
    m = spooled(aliases='team: ann\n')
    m.start()
    body = 'Subject: x\r\n\r\nFrom here\r\n>From there\r\nend'
    qid = m.send('Team' + AT, body, sender='boss@client.test')
    [mail] = wait_mail(m, 'ann')
    assert mail.get_from().startswith('boss@client.test ')
    assert [mail[h] for h in ('Return-Path', 'X-Original-To', 'Delivered-To', 'X-Veredus-Id', 'Subject')] == \
        ['<boss@client.test>', 'Team@mx.veredus.test', 'ann@mx.veredus.test', f'{qid}.0', 'x']
    assert mail.get_payload() == '>From here\n>>From there\nend\n'
    st = (m.box / 'ann').stat()
    assert st.st_uid == m.home['ann'].stat().st_uid
    if ROOT:
        assert (st.st_gid, stat.S_IMODE(st.st_mode)) == (MAIL_GID, 0o660)
    assert not list(m.home['ann'].iterdir())
    m.wait_log(rf'{qid}: to=<ann@mx.veredus.test>,.* status=sent \(delivered to mbox\)')
    m.send('ann' + AT, sender='<>')
    assert wait_mail(m, 'ann', 2)[1].get_from().startswith('MAILER-DAEMON ')
    m.stop()


def test_mbox_below_the_home(make):
    m = make(home_mailbox='mail/inbox')
    m.start()
    m.send('ann' + AT)
    m.wait_empty()
    assert len(read(m.home['ann'] / 'mail/inbox')) == 1
    assert stat.S_IMODE((m.home['ann'] / 'mail/inbox').stat().st_mode) == 0o600
    m.stop()


def test_large_message(spooled):
    m = spooled()
    m.start()
    body = ''.join(f'{i:070d}\r\n' for i in range(20000))
    m.send(['ann' + AT, 'ben' + AT], 'Subject: big\r\n\r\n' + body)
    for u in ('ann', 'ben'):
        [mail] = wait_mail(m, u)
        assert mail.get_payload() == body.replace('\r\n', '\n')
    m.stop()


def test_two_aliases_of_one_user_make_one_copy(spooled):
    m = spooled(aliases='one: ann\ntwo: ann\nall: one, two, ann\n')
    m.start()
    m.send(['one' + AT, 'two' + AT, 'all' + AT])
    wait_mail(m, 'ann')
    m.stop()


def test_a_user_without_a_home(spooled):
    m = spooled()
    os.rmdir(m.home['ben'])
    m.start()
    m.send('ben' + AT)
    wait_mail(m, 'ben')
    m.stop()


def test_a_full_mailbox_defers(spooled):
    m = spooled(message_size_limit=4000, mailbox_size_limit=4000)
    m.start()
    m.send('ann' + AT, 'Subject: 1\r\n\r\n' + 'x' * 2400 + '\r\n')
    wait_mail(m, 'ann')
    size = (m.box / 'ann').stat().st_size
    m.send('ann' + AT, 'Subject: 2\r\n\r\n' + 'x' * 1500 + '\r\n')
    deferred(m, r'4\.2\.2.*mailbox full: .*/mail/ann would be larger than 4000 octets')
    assert (m.box / 'ann').stat().st_size == size
    m.send('ann' + AT, 'Subject: 3\r\n\r\n')          # this one still fits
    wait_until(lambda: len(read(m.box / 'ann')) == 2, 'the small one')
    os.unlink(m.box / 'ann')
    m.veredus('flush')
    assert wait_mail(m, 'ann')[0]['Subject'] == '2'
    m.stop()


# -- rights -------------------------------------------------------------------------------


def test_a_spool_worker_has_the_group_mail_and_no_descriptor_more(spooled):
    m = spooled()
    m.start()
    m.send('ann' + AT)
    wait_mail(m, 'ann')
    [pid] = workers(m)
    owner = m.home['ann'].stat()
    assert set(status(pid, 'Uid').split()) == {str(owner.st_uid)}
    assert set(status(pid, 'Gid').split()) == {str(owner.st_gid)}
    assert int(status(pid, 'CapEff'), 16) == 0
    assert status(pid, 'Seccomp') == '2'
    if ROOT:
        assert set(status(pid, 'Groups').split()) == {str(owner.st_gid), str(MAIL_GID)}
        for fd in os.listdir(f'/proc/{pid}/fd'):
            what = os.readlink(f'/proc/{pid}/fd/{fd}')
            assert what in ('/dev/null', str(m.box)) or what.startswith('socket:'), (fd, what)
    m.stop()


@pytest.mark.skipif(not ROOT, reason='needs root: several uids')
def test_root_without_alias_gets_mail_as_nobody(spooled):
    m = spooled()
    home = m.dir / 'home' / 'root'
    home.mkdir()
    with open(m.passwd, 'a') as f:
        f.write(f'root:x:0:0::{home}:/bin/sh\n')
    m.start()
    m.send(['root' + AT, 'postmaster' + AT])
    wait_mail(m, 'root')
    st = (m.box / 'root').stat()
    assert (st.st_uid, st.st_gid) == (pwd.getpwnam('nobody').pw_uid, MAIL_GID)
    assert list(home.iterdir()) == []
    out = m.veredus('check').stdout
    assert 'warning: root has no alias: its mail goes to ' + str(m.box / 'root') in out
    m.set_aliases('root: ann\n')
    assert 'root has no alias' not in m.veredus('check').stdout
    m.stop()


def test_mail_spool_links_and_devices_defer(spooled):
    """CVE-2008-2936, CVE-2010-2023 and their kin, in a sticky spool of all."""
    m = spooled(users=('link', 'hard', 'fifo', 'dir', 'ann'), minimal_backoff_time='1s',
                maximal_backoff_time='1s')
    os.chmod(m.box, 0o1777)
    victim = m.box / 'victim'
    victim.write_text('precious\n')
    os.symlink(victim, m.box / 'link')
    os.link(victim, m.box / 'hard')
    os.mkfifo(m.box / 'fifo', 0o666)
    os.mkdir(m.box / 'dir', 0o777)
    if ROOT:
        for u in ('hard', 'fifo', 'dir'):
            os.chown(m.box / u, m.home[u].stat().st_uid, -1)
    m.start()
    m.send([u + AT for u in m.home])
    why = {'link': 'is a symbolic link', 'hard': 'has 2 names', 'fifo': 'is a FIFO', 'dir': 'is a directory'}
    for u, text in why.items():
        deferred(m, rf'4\.2\.0.*/mail/{u}: {text}')
    assert len(read(m.box / 'ann')) == 1
    assert victim.read_text() == 'precious\n'
    os.unlink(m.box / 'link')
    os.unlink(m.box / 'hard')
    os.unlink(m.box / 'fifo')
    os.rmdir(m.box / 'dir')
    for u in why:
        wait_mail(m, u)
    m.stop()


# -- other programs ---------------------------------------------------------------------------


def test_a_locked_mailbox_holds_up_its_user_only(spooled):
    m = spooled(minimal_backoff_time='1s', maximal_backoff_time='1s', local_delivery_timeout='2s')
    box = m.box / 'ann'
    box.touch()
    if ROOT:
        os.chown(box, m.home['ann'].stat().st_uid, MAIL_GID)
    m.start()
    with open(box, 'r+b') as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        m.send(['ann' + AT, 'ben' + AT])
        wait_until(lambda: len(read(m.box / 'ben')) == 1, 'ben is served')
        deferred(m, r'4\.2\.0.*/mail/ann: another program has it locked')
    wait_mail(m, 'ann')
    (m.box / 'ann.lock').touch()                       # as procmail's
    m.send('ann' + AT)
    deferred(m, r'4\.2\.0.*/mail/ann\.lock: a lock of uid \d+, \d+ s old')
    (m.box / 'ann.lock').unlink()
    wait_mail(m, 'ann', 2)
    m.stop()


def test_two_writers_lose_nothing(spooled):
    """Python's mailbox module writes into the same file, with both locks."""
    m = spooled(minimal_backoff_time='1s', maximal_backoff_time='1s')
    m.start()
    m.send('ann' + AT)
    wait_mail(m, 'ann')
    writer = f'''
import mailbox, os, sys, time
os.setgroups([{MAIL_GID}]) if {ROOT} else None
os.setgid({m.home['ann'].stat().st_gid}); os.setuid({m.home['ann'].stat().st_uid})
n = 0
while n < 60:
    box = mailbox.mbox({str(m.box / 'ann')!r}, create=False)
    try:
        box.lock()
    except mailbox.ExternalClashError:
        continue
    box.add('Subject: other ' + str(n) + chr(10) * 2 + 'From the other' + chr(10))
    box.flush(); box.unlock(); box.close()
    n += 1
'''
    other = subprocess.Popen(['/usr/bin/python3', '-c', writer])

    def client(k):
        for i in range(30):
            m.send('ann' + AT, f'Subject: ours {k} {i}\r\n\r\nFrom us\r\n')
    threads = [threading.Thread(target=client, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert other.wait(60) == 0
    got = sorted(x['Subject'] for x in wait_mail(m, 'ann', 121))
    assert got == sorted(['test'] + [f'other {n}' for n in range(60)] +
                         [f'ours {k} {i}' for k in range(2) for i in range(30)])
    m.stop()


# -- crashes ------------------------------------------------------------------------------------


# A worker's first delivery: create, lock, its text, flush of the spool, write,
# flush, commit, flush, unlock. (Each of them is killed and failed in
# tests/unit/test_mbox_crash.c.)
@pytest.mark.parametrize('plan', [f'kill:worker:{n}' for n in range(2, 10)] + ['torn:worker:5'])
def test_a_mail_spool_worker_killed_at_an_operation(spooled, monkeypatch, plan):
    if not has_hooks():
        pytest.skip('built without hooks')
    m = spooled(minimal_backoff_time='1s')
    monkeypatch.setenv('VEREDUS_IO_PLAN', plan)
    monkeypatch.setenv('VEREDUS_IO_ONCE', str(m.dir / 'once'))
    m.start()
    m.send('ann' + AT)
    [mail] = wait_mail(m, 'ann')
    assert mail.get_payload() == 'hello\n'
    assert (m.dir / 'once').exists()
    m.stop()


@pytest.mark.parametrize('error', ['ENOSPC', 'EDQUOT', 'EIO'])
def test_a_failing_disk_of_the_mail_spool_defers(spooled, monkeypatch, error):
    if not has_hooks():
        pytest.skip('built without hooks')
    m = spooled(minimal_backoff_time='1s', maximal_backoff_time='1s')
    monkeypatch.setenv('VEREDUS_IO_PLAN', f'fail:worker:5:{error}')
    monkeypatch.setenv('VEREDUS_IO_ONCE', str(m.dir / 'once'))
    m.start()
    m.send('ann' + AT)
    esc = {'ENOSPC': '4.3.1', 'EDQUOT': '4.2.2', 'EIO': '4.3.0'}[error]
    m.wait_log(rf'dsn={esc}, status=deferred \(writing the message')
    wait_mail(m, 'ann')
    m.stop()
