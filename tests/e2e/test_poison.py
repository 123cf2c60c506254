"""A message in whose delivery the agent dies again and again goes on hold; but
only when the agent died of its own doing: the mail at hand is not to blame for a
kill -9 from outside, by an administrator or for want of memory."""
import signal

import pytest

from harness import wait_until
from sink import Hang, Sink

ANN, OUT = 'ann@mx.veredus.test', 'x@far.test'


@pytest.fixture
def hanging(make):
    """(instance, sink, queue id): the sink does not answer RCPT."""
    with Sink() as sink:
        m = make(relayhost=sink.hop, watchdog_timeout='2s')
        m.start()
        sink.script['rcpt'] = Hang()
        yield m, sink, m.send(OUT, sender=ANN)


def dies_with_it(m, sink, sig):
    """remote dies while it has the message; one that is stopped is killed by master."""
    wait_until(lambda: sink.sessions and sink.sessions[-1].open and 'rcpt' in sink.sessions[-1].stages,
               'the message is in its hands\n' + m.tail())
    m.kill('remote', sig)


def test_killed_from_outside_it_is_not_the_mail(hanging):
    m, sink, qid = hanging
    for _ in range(5):
        dies_with_it(m, sink, signal.SIGKILL)
    sink.script = {}
    sink.wait(1)
    m.wait_empty()
    assert 'died with it in its hands' not in m.log()


@pytest.mark.parametrize('last', (signal.SIGSEGV, signal.SIGSTOP), ids=('signal', 'silent'))
def test_four_deaths_of_its_own_doing(hanging, last):
    m, sink, qid = hanging
    dies_with_it(m, sink, signal.SIGKILL)       # does not count
    for sig in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, last):
        assert [r['status'] for r in m.queue()] != ['hold']
        dies_with_it(m, sink, sig)
    wait_until(lambda: [r['status'] for r in m.queue()] == ['hold'], 'it is on hold\n' + m.tail())
    assert m.log().count(f'{qid}: a delivery agent died with it in its hands') == 4
    assert 'delivery agent died four times' in m.tool('mailq').stdout
    sink.script = {}
    assert m.veredus('release', qid).returncode == 0
    sink.wait(1)
    m.wait_empty()
