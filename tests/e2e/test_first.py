"""Three tests from the first hour: one message, one kill, one wall."""
import re

from harness import wait_until


def test_one_message(mta):
    qid = mta.send('ann@mx.veredus.test', 'Subject: one\r\n\r\nfirst\r\n.dot\r\nlast')
    [m] = mta.mail('ann')
    assert m.startswith(b'Return-Path: <sender@client.test>\n')
    assert b'\r' not in m
    head, body = m.split(b'\n\n', 1)
    assert body == b'first\n.dot\nlast\n'
    assert re.search(rb'Received: from client\.test \(.*\[127\.0\.0\.1\]\)\n\s+by mx\.veredus\.test', head)
    assert qid.encode() in head
    mta.wait_empty()
    assert mta.queue_files() == []


def test_one_kill(mta):
    mta.kill('qmgr')
    mta.send('ben@mx.veredus.test')
    mta.mail('ben')
    mta.kill('cleanup')
    wait_until(lambda: mta.is_up(), 'smtpd answers')
    mta.send('cat@mx.veredus.test')
    mta.mail('cat')
    mta.wait_empty()


def test_one_wall(mta):
    for program in ('smtpd', 'qmgr', 'local', 'cleanup'):
        status = open(f'/proc/{mta.pid(program)}/status').read()
        assert re.search(r'^Seccomp:\s+2$', status, re.M), program
        assert re.search(r'^NoNewPrivs:\s+1$', status, re.M), program
