"""A clean stop is quick, and what it cuts off is as if it had never been begun."""
import socket
import time

from harness import SLOW, wait_until
from sink import Sink


def test_a_stop_does_not_wait_for_hosts_that_do_not_greet(make):
    """Connected, not greeted; and connecting: both wait again at once, no attempt
    is counted, and after the next start all is delivered."""
    with socket.socket() as deaf, socket.socket() as full:
        for s, n in ((deaf, 100), (full, 0)):
            s.bind(('127.0.0.1', 0))
            s.listen(n)
        ports = [s.getsockname()[1] for s in (deaf, full)]
        stuffed = socket.create_connection(full.getsockname())
        m = make(transport_maps='inline:{{ deaf.test=smtp:[127.0.0.1]:{}, '
                 'full.test=smtp:[127.0.0.1]:{} }}'.format(*ports), stop_timeout='60s')
        m.start()
        for i in range(20):
            m.send(f'x{i}@deaf.test', sender='ann@local.test')
            m.send(f'x{i}@full.test', sender='ann@local.test')
        deaf.settimeout(30)
        held = [deaf.accept()[0] for _ in range(2)] + [stuffed]
        t0 = time.monotonic()
        m.stop()
        took = time.monotonic() - t0
        assert took < 15 * SLOW, f'{took:.1f} s of 60 that a stop may take'
        assert 'makes no sense' not in m.log() and 'crash' not in m.log()
        for s in held:
            s.close()
    with Sink(port=ports[0]) as one, Sink(port=ports[1]) as two:
        m.start()
        for sink in one, two:
            sink.wait(20)
            assert len({tuple(x.rcpts) for x in sink.messages}) == len(sink.messages) == 20
        m.wait_empty()
        assert 'status=deferred' not in m.log(), 'no attempt was counted'
        m.stop()


def test_mail_without_a_lifetime_is_tried_once(make):
    """maximal_queue_lifetime = 0, as in Postfix: deferred means returned."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))            # and does not listen: refused
        m = make(relayhost=f'[127.0.0.1]:{s.getsockname()[1]}', maximal_queue_lifetime='0')
        m.start()
        m.send('x@far.test', sender='ann@local.test')
        notice = m.mail('ann')[0]
        assert b'5.4.7' in notice and b'tried once' in notice
        m.wait_empty()
        m.stop()


def test_a_wildcard_and_an_address_that_it_includes(make):
    """listen = *:P, [::1]:P is what it says, and no conflict."""
    m = make()
    listen = m.settings['listen']
    port = listen.rsplit(':', 1)[1]
    m.write_conf(listen=f'*:{port}, 127.0.0.1:{port}, [::1]:{port}')
    m.start()
    wait_until(lambda: m.client().greeting.code == 220, 'a greeting')
    m.stop()
