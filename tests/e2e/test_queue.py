"""The queue: what mailq shows, and what the administrator can do to it."""
import json
import os
import socket
import stat
import subprocess
import threading

import pytest

from harness import ROOT, wait_until

ANN = 'ann@mx.veredus.test'
BEN = 'ben@mx.veredus.test'


@pytest.fixture
def slow(make):
    """An instance whose retries come only when they are asked for."""
    i = make(minimal_backoff_time='1h', maximal_backoff_time='2h')
    i.start()
    return i


def block(m, user):
    """Nothing can be delivered to a home that cannot be entered."""
    os.chmod(m.home[user], 0)


def unblock(m, user):
    os.chmod(m.home[user], stat.S_IRWXU)


def rows_of(m, qid):
    return [r for r in m.queue() if r['queue_id'] == qid]


def wait_status(m, qid, status):
    return wait_until(lambda: [r for r in rows_of(m, qid) if r['status'] == status], f'{qid} is {status}\n{m.tail()}')


def deferred(m, rcpts=ANN, **kw):
    block(m, 'ann')
    qid = m.send(rcpts, **kw)
    wait_status(m, qid, 'deferred')
    return qid


def do(m, *words, rc=0):
    r = m.veredus(*words)
    assert r.returncode == rc, (words, r.stdout, r.stderr)
    return r.stdout + r.stderr


def test_empty(slow):
    r = slow.tool('mailq')
    assert (r.returncode, r.stdout) == (0, 'Mail queue is empty\n')
    r = slow.tool('mailq', '-j')
    assert (r.returncode, r.stdout) == (0, '')
    assert 'Mail queue is empty' in do(slow, 'queue')
    r = slow.tool('mailq', '-C', slow.conf)
    assert r.returncode == 0


def test_not_running(make):
    m = make()
    r = m.tool('mailq')
    assert r.returncode == 69 and 'not running' in r.stderr and r.stdout == ''
    assert 'not running' in do(m, 'flush', rc=69)
    assert m.tool('mailq', '-x').returncode == 64


def test_deferred_is_shown_and_flushed(slow):
    qid = deferred(slow, [ANN, BEN])
    assert len(slow.mail('ben')) == 1
    def only_one():
        rows = rows_of(slow, qid)
        return rows if len(rows) == 1 else None
    row, = wait_until(only_one, 'ben is done')
    assert row['sender'] == 'sender@client.test' and row['recipient'] == ANN
    assert row['attempts'] == 1 and row['reply'].startswith('4.')
    assert row['next_at'] - row['arrival_time'] >= 3600
    r = slow.tool('mailq')
    assert r.returncode == 0
    for text in (qid, ANN, 'sender@client.test', '(4.', '1 message.'):
        assert text in r.stdout, r.stdout
    unblock(slow, 'ann')
    assert 'to be tried now' in do(slow, 'flush', qid)
    slow.mail('ann')
    slow.wait_empty()
    assert qid in do(slow, 'flush', qid, rc=66)


def test_flush_all_and_by_domain(slow):
    a = deferred(slow, ANN)
    b = deferred(slow, 'ann@local.test')
    unblock(slow, 'ann')
    assert '1 message ' in do(slow, 'flush', 'local.test')
    wait_until(lambda: not rows_of(slow, b), 'the second has gone')
    assert rows_of(slow, a)
    assert '0 messages' in do(slow, 'flush', 'elsewhere.test')
    assert '1 deferred message is' in do(slow, 'flush')
    slow.mail('ann', 2)
    slow.wait_empty()


def test_hold_survives_a_restart_and_release_delivers(slow):
    qid = deferred(slow)
    assert 'on hold' in do(slow, 'hold', qid)
    rows = wait_status(slow, qid, 'hold') # durable: the tool has waited for it
    assert 'by the administrator' in rows[0]['hold_reason']
    unblock(slow, 'ann')
    assert 'is on hold' in do(slow, 'flush', qid, rc=75)
    do(slow, 'flush')
    slow.stop()
    slow.start()
    wait_status(slow, qid, 'hold')
    assert slow.maildir('ann') == []
    assert f'{qid}!' in slow.tool('mailq').stdout
    assert 'released' in do(slow, 'release', qid)
    slow.mail('ann')
    slow.wait_empty()


def test_deferred_survives_a_restart(slow):
    qid = deferred(slow)
    before = rows_of(slow, qid)
    slow.kill_all()
    slow.start()
    after = wait_status(slow, qid, 'deferred')
    assert after == before  # not tried again only because we started
    unblock(slow, 'ann')
    do(slow, 'flush')
    slow.mail('ann')


def test_delete(slow):
    qid = deferred(slow)
    assert 'deleted' in do(slow, 'delete', qid)
    assert slow.queue() == []
    assert slow.queue_files() == []
    assert 'no such message' in do(slow, 'delete', qid, rc=66)
    unblock(slow, 'ann')
    do(slow, 'flush')
    slow.send(ANN)
    slow.mail('ann', 1)


def test_acts_by_filter(slow):
    one = deferred(slow, sender='one@client.test')
    two = deferred(slow, sender='two@other.test')
    assert '1 message on hold' in do(slow, 'hold', 'sender=other.test')
    wait_status(slow, two, 'hold')
    wait_status(slow, one, 'deferred')
    assert '1 message deleted' in do(slow, 'delete', 'status=hold')
    wait_until(lambda: not rows_of(slow, two), 'deleted')
    assert '0 messages' in do(slow, 'delete', 'recipient=ben@mx.veredus.test')
    assert '1 message deleted' in do(slow, 'delete', 'all')
    slow.wait_empty()


def test_bad_words(slow):
    for words in (['hold'], ['delete'], ['hold', 'xyz'], ['queue', 'status=lost'], ['release', 'colour=red'],
                  ['queue', 'id=1'], ['flush', '-x']):
        do(slow, *words, rc=64)


def test_why_a_parked_recipient_waits(make):
    """... beside one that is tried again, so that the message is not on hold."""
    m = make(relayhost='[127.0.0.1]:1', transport_maps='inline:{ {parked.test=hold:ask the boss} }').start()
    qid = m.send(['x@parked.test', 'y@far.test'])
    wait_status(m, qid, 'deferred')
    wait_until(lambda: [r['attempts'] for r in m.queue()] == [0, 1], 'one was tried')
    assert [r['reply'] for r in m.queue()][0] == 'not tried, transport hold: ask the boss'
    assert '(not tried, transport hold: ask the boss)' in m.tool('mailq').stdout
    m.stop()


def test_requeue_of_what_leaves(make):
    """The resolver answers at once here; it must end once (cleanup lives)."""
    m = make(relayhost='[127.0.0.1]:1').start()
    qid = m.send(['x@far.test', 'y@far.test'])
    wait_status(m, qid, 'deferred')
    pid = m.pid('cleanup')
    assert 'requeued' in do(m, 'requeue', qid)
    wait_until(lambda: [r['queue_id'] != qid for r in m.queue()] == [True, True], 'the new one is there')
    assert m.pid('cleanup') == pid and 'died' not in m.log()
    m.stop()


def test_requeue_expands_anew(make):
    m = make(aliases='crew: ann\n', minimal_backoff_time='1h')
    m.start()
    block(m, 'ann')
    qid = m.send('crew@mx.veredus.test')
    wait_status(m, qid, 'deferred')
    m.set_aliases('crew: ben\n')
    assert 'requeued' in do(m, 'requeue', qid)
    # a map is looked at once a second: until then it becomes ann's again
    wait_until(lambda: m.maildir('ben') or not m.veredus('requeue', 'status=deferred'), 'ben has it')
    m.mail('ben')
    m.wait_empty()
    unblock(m, 'ann')
    assert m.maildir('ann') == []


def test_retries_by_itself(make):
    m = make(minimal_backoff_time='1s', maximal_backoff_time='2s')
    m.start()
    qid = deferred(m)
    wait_until(lambda: rows_of(m, qid)[0]['attempts'] >= 2, 'two attempts')
    unblock(m, 'ann')
    m.mail('ann')
    m.wait_empty()


def test_expires_into_a_bounce(make):
    """The sender is told, once, and of both recipients together."""
    m = make(minimal_backoff_time='1s', maximal_backoff_time='1s', maximal_queue_lifetime='3s')
    m.start()
    deferred(m, [ANN, 'ann+x@mx.veredus.test'], sender=BEN)
    [bounce] = m.mail('ben')
    assert bounce.count(b'\nStatus: 5.4.7\n') == 2 and b'expired after 3s' in bounce, bounce
    m.wait_empty()
    assert len(m.maildir('ben')) == 1
    assert 'status=bounced (expired after 3s' in m.log()


def test_null_sender_expires_into_hold(make):
    """By bounce_queue_lifetime; there is nobody to tell."""
    m = make(minimal_backoff_time='1s', maximal_backoff_time='1s', bounce_queue_lifetime='3s')
    m.start()
    qid = deferred(m, sender='')
    rows = wait_until(lambda: [r for r in wait_status(m, qid, 'hold') if r['hold_reason']], 'the hold is durable')
    assert rows[0]['reply'].startswith('5.4.7 expired after 3s: '), rows
    assert 'expired after 3s' in rows[0]['hold_reason']
    assert 'expired after 3s' in m.tool('mailq').stdout
    unblock(m, 'ann')
    do(m, 'release', 'all')
    m.mail('ann')
    m.wait_empty()


def test_many_recipients_come_in_pages(slow):
    rcpts = [f'ann+{i}@mx.veredus.test' for i in range(600)]
    block(slow, 'ann')
    qid = slow.send(rcpts)
    wait_until(lambda: len(rows_of(slow, qid)) == 600 and
               all(r['attempts'] == 1 for r in rows_of(slow, qid)), 'all were tried once')
    assert sorted(r['recipient'] for r in rows_of(slow, qid)) == sorted(rcpts)
    unblock(slow, 'ann')
    do(slow, 'flush', 'ann+599@mx.veredus.test')
    slow.mail('ann', 600, timeout=60)
    slow.wait_empty()


def test_count(slow):
    deferred(slow)
    held = deferred(slow)
    do(slow, 'hold', held)
    r = slow.veredus('queue', '-j', 'count')
    assert r.returncode == 0
    assert '"deferred":1' in r.stdout.replace(' ', '') and '"hold":1' in r.stdout.replace(' ', ''), r.stdout


@pytest.mark.skipif(not ROOT, reason='needs a second user')
def test_others_see_no_addresses(slow):
    deferred(slow)
    r = slow.tool('mailq', user='nobody')
    assert r.returncode == 0, r.stderr
    assert '1 recipient' in r.stdout and '@' not in r.stdout and '(4.' not in r.stdout, r.stdout
    r = slow.tool('mailq', '-j', user='nobody')
    assert 'recipients' in r.stdout and '@' not in r.stdout and 'reply' not in r.stdout
    for words in (['queue'], ['flush'], ['delete', 'all']):
        r = slow.veredus(*words, user='nobody')
        assert r.returncode == 77, (words, r.stdout, r.stderr)
    assert len(slow.queue()) == 1


def test_log_lines(slow):
    qid = slow.send([ANN, BEN])
    slow.wait_empty()
    slow.wait_log(qid + r': from=<sender@client.test>, size=\d+, nrcpt=2 \(queue active\)')
    for who in (ANN, BEN):
        slow.wait_log(qid + rf': to=<{who}>, relay=local, delay=\d+\.\d\d, dsn=2\.\d\.\d, status=sent \(')
    slow.wait_log(qid + ': removed')


def test_no_octet_of_a_path_reaches_terminal_log_or_json_reader(make):
    """The reason of a deferral names a home, which may be called anything."""
    m = make()
    name = b'w\xff\x1b[31m"\\\xe2\x80\xa8\xc2\x9b\xe2\x80\xae\xc3'
    with open(m.passwd, 'ab') as f:
        f.write(b'odd:x:%d:%d::%s:/bin/sh\n' % (61077 if ROOT else os.getuid(), 61077 if ROOT else os.getgid(),
                                               os.fsencode(m.dir) + b'/' + name))
    m.start()
    m.send('odd@mx.veredus.test')
    wait_until(lambda: '"4.2.0 ' in m.tool('mailq', '-j').stdout, 'deferred')
    out = m.tool('mailq', '-j').stdout
    [line] = out.splitlines()           # cuts at U+0085 and U+2028, too
    assert '/w\ufffd?[31m"\\\u2028\u009b\u202e\ufffd: ' in json.loads(line)['reply'], line
    shown = [m.tool(*x, input=b'').stdout for x in (('mailq',), ('veredus', 'queue'))]
    for text in (*shown, m.log_octets()):
        assert b'No such file' in text
        assert all(32 <= c < 127 or c == 10 for c in text), text
    m.stop()


def test_mailq_says_in_plain_words_that_the_server_hung_up(make):
    """Before the question is written, or before it is answered."""
    m = make()
    (m.run / 'public').mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(m.run / 'public' / 'mailq'))
        s.listen(5)
        over = threading.Event()

        def hang_up():
            for early in (True, False) * 2:
                c, _ = s.accept()
                if not early:
                    c.recv(1000)
                c.close()
            over.set()
        threading.Thread(target=hang_up, daemon=True).start()
        for args in [], [], ['-j'], ['-j']:
            r = m.tool('mailq', *args)
            assert r.returncode == 75 and r.stdout == '', r
            assert r.stderr.startswith('mailq: no whole answer from qmgr: it ended the connection: '), r.stderr
            assert 'try again' in r.stderr and 'Broken pipe' not in r.stderr
        assert over.wait(10)


@pytest.mark.skipif(not ROOT, reason='a plain user is only one user')
def test_mailq_says_that_one_has_too_many_connections(mta):
    def nobody(path, n):
        """A process of that account which holds them open."""
        code = ('import socket, sys\nheld = [socket.socket(socket.AF_UNIX) for _ in range(%d)]\n'
                'for s in held: s.connect(%r)\nprint("open", flush=True)\nsys.stdin.read()' % (n, str(path)))
        p = subprocess.Popen(['/usr/bin/python3', '-c', code], user=65534, group=65534, extra_groups=[],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert p.stdout.readline() == b'open\n'
        return p
    p = nobody(mta.run / 'public' / 'mailq', 16)
    try:
        for args in [], ['-j']:
            for _ in range(5):                      # whoever is faster
                r = mta.tool('mailq', *args, user=65534)
                assert r.returncode == 75 and 'too many connections of yours' in r.stderr, r
    finally:
        p.communicate()
    assert mta.tool('mailq', user=65534).returncode == 0
