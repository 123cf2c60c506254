"""cleanup through the whole system: decisions told, the queue's messages shown,
requeue, a dying cleanup, and the drop directory's odd guests."""
import json
import os
import re
import threading

import pytest

from harness import ROOT, wait_until


def hold(m, body='Subject: held\r\n\r\nhello\r\n', rcpt='ann@mx.veredus.test'):
    """A message that stays in the queue: its user's home does not let it in."""
    os.chmod(m.home['ann'], 0)
    if ROOT:
        os.rename(m.home['ann'], str(m.home['ann']) + '.away')
    qid = m.send(rcpt, body)
    wait_until(lambda: any(qid in str(r) for r in m.queue()), 'in the queue')
    return qid


def test_trace_tells_what_rcpt_will_say(make):
    m = make(aliases='team: ann, ben\n')
    m.start()
    r = m.veredus('trace', '192.0.2.1', 'a@b.test', 'team@mx.veredus.test')
    assert r.returncode == 0, r.stderr
    assert 'cdb:' in r.stdout and 'ann@mx.veredus.test' in r.stdout and '250' in r.stdout
    for rcpt, code in (('nobody@mx.veredus.test', '550'), ('x@elsewhere.test', '250'), ('ann', '250')):
        out = m.veredus('trace', '127.0.0.1', '', rcpt).stdout
        assert code in out, out
        with m.client() as c:
            c.hello()
            c.cmd('MAIL FROM:<>')
            if '@' in rcpt:
                assert str(c.cmd(f'RCPT TO:<{rcpt}>').code) == code
    assert m.queue() == []
    m.stop()


@pytest.mark.parametrize('sender,rcpt', [
    ('<a@b..c>', 'ann@mx.veredus.test'), ('"a', 'ann@mx.veredus.test'), ('', 'ann@[127.1]'),
    ('a@b.test', 'ann@mx..test'), ('a@b.test', '"ann'), ('a@b.test', 'x@elsewhere.test'),
    ('a@b.test', 'team@mx.veredus.test')])
def test_trace_says_what_the_dialogue_says(shared, sender, rcpt):
    """The same code at the same place, and each step once."""
    r = shared.veredus('trace', '-j', '127.0.0.1', sender, rcpt)
    assert r.returncode == 0, r.stderr
    rows = [json.loads(x) for x in r.stdout.splitlines()]
    with shared.client() as c:
        c.hello()
        said = c.cmd(f'MAIL FROM:<{sender.strip("<>")}>')
        if said.code == 250:
            said = c.cmd(f'RCPT TO:<{rcpt}>')
    assert (rows[-1]['what'], rows[-1]['code'], rows[-1]['esc']) == ('decision', said.code, said.esc), rows
    assert [x['step'] for x in rows] == list(range(1, len(rows) + 1))
    what = [(x['what'], x['key']) for x in rows]
    assert len(what) == len(set(what)), rows


def test_trace_when_no_mail_is_taken(make):
    m = make(queue_minfree='1000T')
    m.start()
    out = m.veredus('trace', '127.0.0.1', 'a@b.test', 'ann').stdout
    assert re.search(r'decision +a@b.test +452 4\.3\.1 ', out), out
    m.stop()


def test_trace_of_no_address_is_wrong_usage(shared):
    for client in ('999.1.1.1', 'mail.example.org', '\x1b[1m'):
        r = shared.veredus('trace', client, 'a@b.test', 'ann')
        assert (r.returncode, r.stdout) == (64, ''), r
        assert 'address' in r.stderr and '\x1b' not in r.stderr, r.stderr


def test_map_asks_a_map_behind_the_walls(make):
    m = make(aliases='team: ann, ben\n')
    m.start()
    r = m.veredus('map', '-q', 'team', f'cdb:{m.aliases_path}')
    assert r.returncode == 0 and 'ann' in r.stdout, (r.stdout, r.stderr)
    assert m.veredus('map', '-q', 'other', f'cdb:{m.aliases_path}').returncode == 1
    m.stop()


def test_cat_shows_the_message(mta):
    qid = hold(mta)
    r = mta.veredus('cat', qid)
    assert r.returncode == 0, r.stderr
    assert 'reverse-path: <sender@client.test>' in r.stdout
    assert 'orig_to=<ann@mx.veredus.test>' in r.stdout
    assert r.stdout.replace('\r\n', '\n').endswith('\nSubject: held\n\nhello\n')
    assert mta.veredus('cat', '0000000000001').returncode != 0
    big = hold_large(mta)
    r = mta.tool('veredus', 'cat', big, input=b'')
    assert r.stdout.endswith(b'y' * 70 + b'\r\n') and len(r.stdout) > 700000


def hold_large(m):
    return m.send('ann@mx.veredus.test', 'Subject: big\r\n\r\n' + ('y' * 70 + '\r\n') * 10000)


def test_requeue_expands_by_the_aliases_of_today(make):
    m = make(aliases='team: ann\n')
    m.start()
    hold(m, rcpt='team@mx.veredus.test')
    [row] = {r['queue_id'] if 'queue_id' in r else r['id'] for r in m.queue()}
    m.set_aliases('team: ben\n')
    wait_until(lambda: 'ben' in m.veredus('trace', 'local', '', 'team').stdout, 'the new map is seen')
    wait_until(lambda: m.veredus('requeue', row).returncode == 0, 'requeued')
    m.mail('ben')
    m.wait_empty()
    m.stop()


def test_a_cleanup_that_dies_in_mid_transaction_costs_a_451(mta):
    with mta.client() as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        c.send(b'Subject: x\r\n\r\n' + b'line\r\n' * 30000)
        mta.kill('cleanup')
        assert c.dot().code in (451, 421)
        assert c.cmd('RSET').code == 250

        def again():
            if c.cmd('MAIL FROM:<a@b.test>').code == 250:
                if c.cmd('RCPT TO:<ann@mx.veredus.test>').code == 250:
                    return True
            c.cmd('RSET')
            return False
        wait_until(again, 'mail is taken again')
        assert c.cmd('DATA').code == 354
        assert c.dot(b'Subject: after\r\n\r\nx\r\n').code == 250
    assert b'Subject: after' in mta.mail('ann')[0]


def test_too_large_is_refused_while_it_comes(make):
    m = make(message_size_limit=50000)
    m.start()
    with m.client() as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        c.send(b'Subject: x\r\n\r\n' + b'0123456789\r\n' * 10000)
        r = c.dot()
        assert (r.code, r.esc) == (552, '5.3.4')
        c.open('ann@mx.veredus.test')
        assert c.dot(b'Subject: small\r\n\r\nx\r\n').code == 250
    m.mail('ann')
    m.stop()


def test_a_header_without_end_is_refused(make):
    m = make(header_size_limit=10000)
    m.start()
    with m.client() as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        c.send(b''.join(b'X-%d: y\r\n' % i for i in range(5000)))
        assert c.dot(b'\r\nx\r\n').code == 552
    assert m.queue() == [] and m.maildir('ann') == []
    m.stop()


def test_hundred_recipients_one_message(make):
    users = [f'u{i}' for i in range(100)]
    m = make(users=users)
    m.start()
    with m.client() as c:
        c.hello()
        c.cmd('MAIL FROM:<a@b.test>')
        for u in users + users[:10]:
            assert c.cmd(f'RCPT TO:<{u}@mx.veredus.test>').code == 250
        assert c.cmd('DATA').code == 354
        assert c.dot(b'Subject: all\r\n\r\nx\r\n').code == 250
    for u in users:
        assert b'\n\tfor <' not in m.mail(u)[0].split(b'\n\n')[0]
    m.wait_empty()
    assert all(len(m.maildir(u)) == 1 for u in users)
    m.stop()


def test_a_dropped_message_for_nobody_fails_and_is_seen(make):
    m = make()
    m.start()
    m.stop()
    r = m.tool('sendmail', '-i', 'ann', 'ghost', input=b'Subject: d\n\nx\n')
    assert r.returncode == 0, r.stderr
    m.start()
    m.mail('ann')
    wait_until(lambda: re.search(r'to=<ghost@.*dsn=5.1.1, status=bounced', m.log()), 'failed and seen')
    wait_until(lambda: 'sender non-delivery notification' in m.log(), 'its sender is told')
    assert not list((m.spool / 'drop').iterdir())
    assert re.search(r'pickup: uid=\d+, to=<ghost@', m.log())
    m.stop()


def test_a_dropped_message_for_a_broken_alias_waits_in_the_queue(make):
    """It is seen by mailq, holds up nobody else, and goes when the alias is put right."""
    m = make(aliases='crew: ghost\n', minimal_backoff_time='1s', maximal_backoff_time='1s')
    m.start()
    m.stop()
    r = m.tool('sendmail', '-i', 'crew', 'ann', input=b'Subject: d\n\nx\n')
    assert r.returncode == 0, r.stderr
    m.start()
    m.mail('ann')
    [row] = wait_until(lambda: [r for r in m.queue() if 'ann@' not in r['recipient']], 'seen by mailq')
    wait_until(lambda: len(m.queue()) == 1, "ann's is done")
    assert (row['recipient'], row['status']) == ('crew@mx.veredus.test', 'deferred')
    wait_until(lambda: m.queue()[0]['attempts'] > 1, 'tried again')
    assert '"crew" names <ghost@mx.veredus.test>, an unknown user' in m.queue()[0]['reply']
    assert not list((m.spool / 'drop').iterdir())
    m.set_aliases('crew: ben\n')
    m.mail('ben')
    m.wait_empty()
    m.stop()


@pytest.mark.skipif(not ROOT, reason='needs other users')
def test_the_owner_of_a_dropped_file_is_the_sender(make):
    m = make()
    m.start()
    m.stop()
    assert m.tool('sendmail', '-i', 'ann', input=b'Subject: d\n\nx\n', user=65534).returncode == 0
    m.start()
    head = m.mail('ann')[0].split(b'\n\n')[0]
    assert b'uid 65534' in head and b'\nFrom: nobody@mx.veredus.test' in head, head
    assert re.search(r': uid=65534 from=<nobody@mx.veredus.test>', m.log())
    m.stop()


def test_mail_in_parallel_gets_different_ids(mta):
    ids, lock = [], threading.Lock()

    def send():
        for _ in range(20):
            q = mta.send('ann@mx.veredus.test')
            with lock:
                ids.append(q)
    threads = [threading.Thread(target=send) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(ids) == len(set(ids)) == 160
    mta.wait_empty()
    assert len(mta.maildir('ann')) == 160
    for q in ids:
        assert re.search(q + r': message-id=', mta.log())
