"""Local delivery: mailboxes, workers and their walls, what a dying or hanging
worker leaves, and what users do to their own directories."""
import os
import pwd
import re
import signal
import subprocess

import pytest

from harness import PREFIX, ROOT, children, wait_until

AT = '@mx.veredus.test'


def workers(m):
    return [p for p in children(m.pid('forker')) if m.comm(p) == 'local-worker']


def status(pid, field):
    return re.search(rf'^{field}:[ \t]*(.*)$', open(f'/proc/{pid}/status').read(), re.M).group(1)


def has_hooks():
    return b'VEREDUS_IO_PLAN' in (PREFIX / 'libexec/veredus/cleanup').read_bytes()


def deferred(m, pattern):
    """Wait until mailq tells of a deferral with this text."""
    def look():
        return [r for r in m.queue() if re.search(pattern, str(r))]
    return wait_until(look, f'deferred: {pattern}\n{m.tail()}')


# -- what is delivered --------------------------------------------------------------


def test_maildir_is_made_and_is_the_users(mta):
    mta.send('ann' + AT)
    mta.mail('ann')
    box = mta.home['ann'] / 'Maildir'
    for d in (box, box / 'tmp', box / 'new', box / 'cur'):
        st = d.stat()
        assert st.st_mode & 0o7777 == 0o700
        assert st.st_uid == mta.home['ann'].stat().st_uid
    st = mta.maildir('ann')[0].stat()
    assert st.st_mode & 0o7777 == 0o600
    assert st.st_uid == mta.home['ann'].stat().st_uid
    assert mta.maildir('ann', 'tmp') == []


def test_fields_in_front(make):
    m = make(aliases='team: ann\n')
    m.start()
    qid = m.send('Team' + AT, sender='boss@client.test')
    [mail] = m.mail('ann')
    lines = mail.split(b'\n')
    assert lines[0] == b'Return-Path: <boss@client.test>'
    assert lines[1] == b'X-Original-To: Team@mx.veredus.test'
    assert lines[2] == b'Delivered-To: ann@mx.veredus.test'
    assert lines[3].startswith(b'Received: ')
    assert qid in m.maildir('ann')[0].name
    assert b'\r' not in mail
    m.wait_log(rf'{qid}: to=<ann@mx.veredus.test>,.* relay=local,.* dsn=2.0.0, '
               r'status=sent \(delivered to maildir\)')
    m.stop()


def test_large_message_comes_by_descriptor(mta):
    body = ''.join(f'{i:070d}\r\n' for i in range(20000))
    mta.send(['ann' + AT, 'ben' + AT], 'Subject: big\r\n\r\n' + body)
    for u in ('ann', 'ben'):
        [mail] = mta.mail(u)
        assert mail.endswith(b'\n\n' + body.replace('\r\n', '\n').encode())
    mta.wait_empty()


def test_more_users_than_workers(make):
    users = [f'u{i}' for i in range(20)]
    m = make(users=users, local_process_limit=3)
    m.start()
    most = 0
    for _ in range(3):
        m.send([u + AT for u in users])
        most = max(most, len(workers(m)))
    for u in users:
        m.mail(u, 3)
    m.wait_empty()
    # Those that are ending come on top of the three: how many, the machine decides.
    # That no more than three are in use is test_dispatch's.
    assert most > 0
    assert 'no worker for' not in m.log(), 'none had to wait for the next attempt'
    wait_until(lambda: len(workers(m)) <= 3, 'three workers')
    m.stop()


def test_workers_are_reused_and_end_when_idle(make):
    m = make(local_worker_idle='1s')
    m.start()
    m.send('ann' + AT)
    m.mail('ann')
    [pid] = workers(m)
    m.send('ann' + AT)
    m.mail('ann', 2)
    assert workers(m) == [pid]
    wait_until(lambda: workers(m) == [], 'the idle worker ends')
    m.stop()


def test_a_reload_changes_the_mailbox(make):
    m = make()
    m.start()
    m.send('ann' + AT)
    m.mail('ann')
    [pid] = workers(m)
    m.write_conf(home_mailbox='mail/in/')
    assert m.veredus('reload').returncode == 0
    wait_until(lambda: pid not in workers(m), 'the old worker ends')
    m.send('ann' + AT)
    wait_until(lambda: list((m.home['ann'] / 'mail/in/new').glob('*')), 'delivered to mail/in/')
    assert len(m.maildir('ann')) == 1
    m.stop()


# -- walls ----------------------------------------------------------------------------


def test_a_worker_is_its_user_and_nothing_else(mta):
    mta.send('ann' + AT)
    mta.mail('ann')
    [pid] = workers(mta)
    owner = mta.home['ann'].stat()
    assert set(status(pid, 'Uid').split()) == {str(owner.st_uid)}
    assert set(status(pid, 'Gid').split()) == {str(owner.st_gid)}
    assert int(status(pid, 'CapEff'), 16) == 0
    assert status(pid, 'Seccomp') == '2'
    assert status(pid, 'NoNewPrivs') == '1'
    if not ROOT:
        return
    assert set(status(pid, 'Groups').split()) <= {str(owner.st_gid)}
    for fd in os.listdir(f'/proc/{pid}/fd'):
        what = os.readlink(f'/proc/{pid}/fd/{fd}')
        assert what == '/dev/null' or what.startswith(('socket:', str(mta.home['ann']))), (fd, what)


def test_a_link_out_of_the_home_is_not_followed(make):
    m = make()
    m.start()
    out = m.dir / 'outside'
    out.mkdir()
    if ROOT:
        st = m.home['ann'].stat()
        os.chown(out, st.st_uid, st.st_gid)
    os.symlink('../../outside', m.home['ann'] / 'Maildir')
    m.send('ann' + AT)
    if ', landlock ' in m.veredus('status').stdout:
        deferred(m, r'Maildir/: Permission denied')
        assert list(out.iterdir()) == []
    else:                               # no such wall in this kernel or build
        wait_until(lambda: m.queue() == [], 'delivered where the user may write')
    m.stop()


# -- what cannot be delivered ------------------------------------------------------------


def test_trouble_in_the_mailbox_defers_and_mends(make):
    m = make(minimal_backoff_time='1s', maximal_backoff_time='1s')
    m.start()
    box = m.home['ann'] / 'Maildir'
    os.mkfifo(box)
    m.send('ann' + AT)
    deferred(m, r'4\.2\.0.*Maildir/: Not a directory')
    os.unlink(box)
    m.mail('ann')
    m.wait_empty()
    # The home goes away and comes back.
    away = m.home['ben'].with_suffix('.away')
    os.rename(m.home['ben'], away)
    m.send('ben' + AT)
    deferred(m, r'home/ben: No such file')
    os.rename(away, m.home['ben'])
    m.mail('ben')
    m.wait_empty()
    m.stop()


@pytest.mark.skipif(not ROOT, reason='needs root: several uids')
def test_nothing_is_delivered_as_root(make):
    m = make()
    root = m.dir / 'home' / 'toor'
    root.mkdir()
    with open(m.passwd, 'a') as f:
        f.write(f'toor:x:0:0::{root}:/bin/sh\n')
    m.start()
    m.send('toor' + AT)
    m.wait_empty()
    assert list(root.iterdir()) == []
    assert (m.mail_spool / 'toor').stat().st_uid == pwd.getpwnam('nobody').pw_uid
    m.stop()


def test_a_user_who_is_gone_by_then(make):
    m = make()
    m.start()
    with m.client() as c:
        c.hello()
        c.open('ann' + AT)
        m.passwd.write_text(''.join(x for x in open(m.passwd) if not x.startswith('ann:')))
        assert c.dot(b'Subject: x\r\n\r\nx\r\n').code == 250
    m.wait_log(re.escape('status=bounced (no such user'))
    assert m.maildir('ann') == []
    m.stop()


# -- workers that hang and die --------------------------------------------------------------


def test_a_hanging_worker_is_given_up(make):
    m = make(local_delivery_timeout='1s', minimal_backoff_time='1s', maximal_backoff_time='1s')
    m.start()
    m.send('ann' + AT)
    m.mail('ann')
    [pid] = workers(m)
    os.kill(pid, signal.SIGSTOP)
    m.send('ann' + AT)
    m.wait_log('the delivery took too long')
    m.wait_log('given up, killed')
    m.mail('ann', 2)
    m.wait_empty()
    assert not os.path.exists(f'/proc/{pid}')
    m.stop()


def test_a_dead_worker_is_replaced_at_once(mta):
    mta.send('ann' + AT)
    mta.mail('ann')
    [pid] = workers(mta)
    os.kill(pid, signal.SIGSTOP)
    mta.send('ann' + AT)
    wait_until(lambda: mta.queue(), 'the second is in hand')
    os.kill(pid, signal.SIGKILL)
    mta.mail('ann', 2)
    mta.wait_empty()
    mta.wait_log('worker of ann.*killed by signal 9')


# The operations of a worker's first delivery: four for each of Maildir, tmp, new
# and cur, then create, write, flush, close, rename, flush of new.  (Each of them is
# killed and failed in tests/unit/test_maildir_crash.c.)
@pytest.mark.parametrize('plan', [f'kill:worker:{n}' for n in (1, 7, 18, 19, 21, 22)] +
                         ['torn:worker:18'])
def test_a_worker_killed_at_an_operation(make, monkeypatch, plan):
    if not has_hooks():
        pytest.skip('built without hooks')
    m = make(minimal_backoff_time='1s')
    monkeypatch.setenv('VEREDUS_IO_PLAN', plan)
    monkeypatch.setenv('VEREDUS_IO_ONCE', str(m.dir / 'once'))
    m.start()
    m.send('ann' + AT)
    m.mail('ann')
    m.wait_empty()
    assert len(m.maildir('ann')) == 1
    assert m.maildir('ann', 'tmp') == []
    assert (m.dir / 'once').exists()
    m.stop()


@pytest.mark.parametrize('error', ['ENOSPC', 'EDQUOT', 'EIO'])
def test_a_failing_disk_defers(make, monkeypatch, error):
    if not has_hooks():
        pytest.skip('built without hooks')
    m = make(minimal_backoff_time='1s', maximal_backoff_time='1s')
    monkeypatch.setenv('VEREDUS_IO_PLAN', f'fail:worker:18:{error}')
    monkeypatch.setenv('VEREDUS_IO_ONCE', str(m.dir / 'once'))
    m.start()
    m.send('ann' + AT)
    esc = {'ENOSPC': '4.3.1', 'EDQUOT': '4.2.2', 'EIO': '4.3.0'}[error]
    m.wait_log(rf'dsn={esc}, status=deferred \(writing the message')
    m.mail('ann')
    m.wait_empty()
    assert m.maildir('ann', 'tmp') == []
    m.stop()


def test_no_worker_outlives_the_system(mta):
    mta.send(['ann' + AT, 'ben' + AT])
    mta.mail('ann')
    mta.mail('ben')
    pids = workers(mta)
    assert len(pids) == 2
    mta.stop()
    assert subprocess.run(['ps', '-o', 'pid=', '-p', ','.join(map(str, pids))],
                          capture_output=True).stdout == b''
