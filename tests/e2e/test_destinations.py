"""Next hops that are down: what waits for them, and how it goes on."""
import json
import socket
import socketserver
import threading

import pytest

from harness import wait_until

OUT = 'x{}@elsewhere.test'
TRIES = 5  # SCHED_SITE_FAILURES


class Session(socketserver.StreamRequestHandler):
    """Takes everything; notes forward-paths."""

    def handle(self):
        self.wfile.write(b'220 sink ESMTP\r\n')
        for line in self.rfile:
            verb = line.split(b' ')[0].strip().upper()
            if verb == b'RCPT':
                self.server.rcpts.append(line.decode().split('<')[1].split('>')[0])
            if verb == b'DATA':
                self.wfile.write(b'354 go ahead\r\n')
                while self.rfile.readline() not in (b'.\r\n', b''):
                    pass
            self.wfile.write(b'221 bye\r\n' if verb == b'QUIT' else b'250 ok\r\n')
            if verb == b'QUIT':
                return


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port):
        super().__init__(('127.0.0.1', port), Session)
        self.rcpts = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


@pytest.fixture
def port():
    """A port where nobody listens until the test does."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@pytest.fixture
def relay(make, port):
    m = make(relayhost=f'[127.0.0.1]:{port}', minimal_backoff_time='1h', maximal_backoff_time='2h')
    m.start()
    return m


def all_deferred(m, n):
    def ready():
        rows = m.queue()
        return rows if len(rows) == n and all(r['status'] == 'deferred' and r['reply'] for r in rows) else None
    return wait_until(ready, f'{n} are deferred\n{m.tail()}')


def test_a_dead_next_hop_delays_nobody_and_comes_back(relay, port):
    m = relay
    for i in range(TRIES):
        m.send(OUT.format(i))
        all_deferred(m, i + 1)
    for i in range(TRIES, 20):
        m.send(OUT.format(i))
    rows = all_deferred(m, 20)
    assert len({r['reply'] for r in rows}) == 1 and 'refused' in rows[0]['reply'], rows
    assert rows[0]['reply'].split()[0] in m.tool('mailq').stdout
    m.send('ann@mx.veredus.test')
    m.mail('ann')  # what is for others goes
    sink = Sink(port)
    try:
        late = m.send(OUT.format('late'))
        [row] = wait_until(lambda: [r for r in m.queue() if r['queue_id'] == late and r['status'] == 'deferred'],
                           'deferred without an attempt')
        assert row['reply'] == rows[0]['reply'] and sink.rcpts == []
        r = m.veredus('flush', f'destination=smtp:[127.0.0.1]:{port}')
        assert r.returncode == 0 and '21 messages' in r.stdout, r.stdout + r.stderr
        m.wait_empty()
        assert sorted(sink.rcpts) == sorted([OUT.format(i) for i in range(20)] + [OUT.format('late')])
    finally:
        sink.stop()


def test_filters(relay, port):
    m = relay
    m.send([OUT.format(1), 'y@other.test'])
    m.send(OUT.format(2), sender='ben@mx.veredus.test')
    m.send('z@null.test', sender='')
    all_deferred(m, 4)

    def found(*words):
        r = m.veredus('queue', '-j', *words)
        assert r.returncode == 0, r.stderr
        return sorted(json.loads(line)['recipient'] for line in r.stdout.splitlines())
    assert found('domain=elsewhere.test') == [OUT.format(1), OUT.format(2)]
    assert found('domain=other.test') == ['y@other.test']
    assert found('sender=ben@mx.veredus.test', 'domain=other.test') == []
    assert found(f'destination=[127.0.0.1]:{port}', 'age=1h') == []
    assert len(found(f'destination=[127.0.0.1]:{port}')) == 4
    assert found('sender=<>') == found('sender=') == ['z@null.test']
    r = m.veredus('delete', 'sender=<>')
    assert '1 message deleted' in r.stdout
    r = m.veredus('delete', 'domain=other.test')
    assert '1 message deleted' in r.stdout
    assert found() == [OUT.format(2)]


def test_defer_transports_waits_for_a_flush(make, port):
    m = make(relayhost=f'[127.0.0.1]:{port}', defer_transports='smtp', minimal_backoff_time='1s',
             maximal_backoff_time='1s')
    m.start()
    sink = Sink(port)
    try:
        m.send(OUT.format(1))
        wait_until(lambda: m.queue() and m.queue()[0]['attempts'] > 1, 'put off again and again')
        assert 'deferred until it is flushed' in m.queue()[0]['reply'] and sink.rcpts == []
        assert m.veredus('flush').returncode == 0
        m.wait_empty()
        assert sink.rcpts == [OUT.format(1)]
    finally:
        sink.stop()


def test_a_delay_warning_comes_once(make, port):
    m = make(relayhost=f'[127.0.0.1]:{port}', delay_warning_time='1s', minimal_backoff_time='1s',
             maximal_backoff_time='1s')
    m.start()
    m.send([OUT.format(1), OUT.format(2)], sender='ben@mx.veredus.test')
    [warning] = m.mail('ben')
    assert warning.count(b'\nAction: delayed\n') == 2 and b'\nFinal-Recipient: rfc822; ' in warning
    attempts = max(r['attempts'] for r in m.queue())
    wait_until(lambda: all(r['attempts'] > attempts + 2 for r in m.queue()), 'tried again')
    assert len(m.maildir('ben')) == 1 and len(m.queue()) == 2
