"""Mail finds its hosts by a real DNS server, and what DNS says decides its fate.
Two instances and a zone exchange mail both ways, with bounces."""
import re
import time
from collections import Counter
from email import message_from_bytes

import pytest

import harness
from dnszone import Nsd, Unbound
from harness import PATIENCE, wait_until
from sink import Sink
from test_notices import parse

AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')
ANN = 'ann@mx.veredus.test'
# Who is at which address: .2 to .4 take mail, .9 listens to nobody.
ZONE = '''
one      MX 10 h2
byp      MX 30 h4
         MX 10 h2
         MX 20 h3
dead     MX 10 h9
         MX 20 h2
equal    MX 10 h2
         MX 10 h3
         MX 10 h4
plain    A 127.0.0.3
null     MX 0 .
alias    CNAME one
mxalias  MX 10 alias2
alias2   CNAME h4
gone     MX 10 nothing.here
partly   MX 10 nothing.here
         MX 20 h3
empty    TXT "no address"
loop     MX 10 mx.veredus
         MX 20 h2
better   MX 5 h2
         MX 10 mx.veredus
         MX 20 h3
literal  MX 10 127.0.0.4.
*.wild   MX 10 h4
multi    MX 10 three
three    A 127.0.0.9
         A 127.0.0.2
h2       A 127.0.0.2
h3       A 127.0.0.3
h4       A 127.0.0.4
h9       A 127.0.0.9
mx.veredus A 127.0.0.7
veredus  TXT "x"
'''
DOMAINS = ('one', 'byp', 'dead', 'equal', 'plain', 'null', 'alias', 'mxalias', 'gone', 'partly', 'empty', 'literal',
           'multi', 'a.wild', 'missing', 'no.where')


class World:
    def __init__(self):
        self.dns = Nsd(ZONE)
        self.h2 = Sink(address='127.0.0.2').start()
        self.h3 = Sink(address='127.0.0.3', port=self.h2.port).start()
        self.h4 = Sink(address='127.0.0.4', port=self.h2.port).start()
        self.sinks = {'h2': self.h2, 'h3': self.h3, 'h4': self.h4}
        self.m = harness.Instance(
            dns_servers=self.dns.address, inet_protocols='ipv4', inet_interfaces='127.0.0.1, 127.0.0.7',
            transport_maps='inline:{ ' + ', '.join(f'{d}.test=smtp:{d}.test:{self.h2.port}' for d in DOMAINS) +
            f', outside.example=smtp:outside.example:{self.h2.port} }}', dns_timeout='5s', **AGAIN)
        # our own port: there we are
        self.m.write_conf(transport_maps=self.m.settings['transport_maps'].replace('}', ''.join(
            f', {d}.test=smtp:{d}.test:{self.m.port}' for d in ('loop', 'better')) + ' }'))
        self.m.start()

    def end(self):
        try:
            self.m.stop()
        finally:
            self.m.remove()
            self.dns.__exit__()
            for s in self.sinks.values():
                s.stop()

    def where(self, rcpt):
        return [n for n, s in self.sinks.items() for m in list(s.messages) if rcpt in m.rcpts]

    def fate(self, qid, rcpt):
        self.m.wait_log(rf'{qid}: to=<{re.escape(rcpt)}>.*status=')
        got = re.search(rf'{qid}: to=<{re.escape(rcpt)}>.*dsn=([\d.]+), status=(\w+) \((.*)\)', self.m.log())
        return got.group(2), got.group(1), got.group(3)


@pytest.fixture(scope='module')
def world():
    w = World()
    yield w
    w.end()


@pytest.mark.parametrize('domain,host', [
    ('one', 'h2'), ('byp', 'h2'), ('dead', 'h2'), ('plain', 'h3'), ('alias', 'h2'), ('mxalias', 'h4'),
    ('partly', 'h3'), ('a.wild', 'h4'), ('multi', 'h2')])
def test_goes_to(world, domain, host):
    rcpt = f'x@{domain}.test'
    qid = world.m.send(rcpt, sender=ANN)
    assert world.fate(qid, rcpt)[0] == 'sent', world.m.tail()
    assert wait_until(lambda: world.where(rcpt), 'it is somewhere') == [host]


def test_equal_preferences_share_the_mail(world, make):
    """New connections; a kept one is used before another is made."""
    m = make(dns_servers=world.dns.address, inet_protocols='ipv4', smtp_connection_cache_time_limit=0,
             transport_maps=f'inline:{{ equal.test=smtp:equal.test:{world.h2.port} }}', **AGAIN)
    m.start()
    for i in range(60):
        m.send(f'x{i}@equal.test', sender=ANN)

    def all_there():
        got = Counter(n for n, s in world.sinks.items() for x in list(s.messages) for r in x.rcpts
                      if r.endswith('@equal.test'))
        return got if sum(got.values()) == 60 else None
    got = wait_until(all_there, 'all are somewhere')
    assert set(got) == {'h2', 'h3', 'h4'} and max(got.values()) < 50, got
    m.stop()


@pytest.mark.parametrize('domain,esc,words', [
    ('null', '5.1.10', 'takes no mail (null MX'), ('missing', '5.4.4', ''), ('no.where', '5.4.4', ''),
    ('empty', '5.4.4', ''), ('gone', '5.4.4', ''), ('loop', '5.4.6', 'loops back to myself')])
def test_bounces_at_once(world, domain, esc, words):
    rcpt = f'x@{domain}.test'
    before = len(world.m.maildir('ann'))
    qid = world.m.send(rcpt, sender=ANN)
    got = world.fate(qid, rcpt)
    assert got[:2] == ('bounced', esc) and words in got[2], got
    wait_until(lambda: len(world.m.maildir('ann')) > before, 'the bounce')
    bounce = [b for f in world.m.maildir('ann') for b in [f.read_bytes()] if qid.encode() in b]
    [(_, text, status, _)] = map(parse, bounce)
    assert status[1]['Status'] == esc and rcpt in text
    assert status[1]['Remote-MTA'] is None and not str(status[1]['Diagnostic-Code']).startswith('smtp;')
    assert world.where(rcpt) == []


def test_only_what_is_better_than_ourselves_is_tried(world):
    qid = world.m.send('x@better.test', sender=ANN)
    assert world.fate(qid, 'x@better.test')[:2] == ('deferred', '4.4.1')
    tried = re.findall(rf'connect to \S+\[(127\S+)\]: Connection refused \(port {world.m.port}\)', world.m.log())
    assert set(tried) == {'127.0.0.2'}
    assert world.m.veredus('delete', qid).returncode == 0


def test_a_zone_with_an_address_for_a_host_is_for_now(world):
    """An MX that names an address is a mistake, which somebody may mend."""
    qid = world.m.send('x@literal.test', sender=ANN)
    assert world.fate(qid, 'x@literal.test')[0] == 'deferred'
    assert world.where('x@literal.test') == []
    assert world.m.veredus('delete', qid).returncode == 0


def test_refused_by_the_resolver_is_for_now(world):
    """nsd knows nothing about other zones, and says REFUSED."""
    qid = world.m.send('x@outside.example', sender=ANN)
    assert world.fate(qid, 'x@outside.example')[:2] == ('deferred', '4.4.3')
    assert world.m.veredus('delete', qid).returncode == 0


def test_a_silent_resolver_and_servfail_are_for_now(make):
    """Unbound in front of an nsd that is stopped: first silence, then SERVFAIL;
    then all is well, and the mail goes."""
    with Nsd(ZONE) as nsd, Unbound(nsd) as dns, Sink(address='127.0.0.2') as sink:
        m = make(dns_servers=dns.address, inet_protocols='ipv4', dns_timeout='2s',
                 transport_maps=f'inline:{{ one.test=smtp:one.test:{sink.port} }}', **AGAIN)
        m.start()
        dns.pause()
        qid = m.send('x@one.test', sender=ANN)
        m.wait_log(rf'{qid}: to=<x@one.test>.*dsn=4\.4\.3, status=deferred')
        nsd.stop()
        dns.go_on()
        deferred = m.log().count('status=deferred')
        wait_until(lambda: m.log().count('status=deferred') > deferred + 1, 'tried again\n' + m.tail())
        assert 'status=bounced' not in m.log() and m.maildir('ann') == []
        nsd.start()
        sink.wait(1)
        m.wait_empty(60)
        assert len(sink.messages) == 1
        m.stop()


def test_a_changed_zone_is_seen(make):
    with Nsd('far MX 10 a\na A 127.0.0.2\n') as dns, Sink(address='127.0.0.2') as old, \
            Sink(address='127.0.0.3', port=old.port) as new:
        m = make(dns_servers=dns.address, inet_protocols='ipv4', smtp_connection_cache_time_limit=0,
                 transport_maps=f'inline:{{ far.test=smtp:far.test:{old.port} }}', **AGAIN)
        m.start()
        m.send('x0@far.test', sender=ANN)
        old.wait(1)
        dns.zone('test', 'far MX 10 a\na A 127.0.0.3\n')
        n = 0
        end = time.monotonic() + PATIENCE
        while not new.messages:         # a TTL of 5 s
            n += 1
            m.send(f'x{n}@far.test', sender=ANN)
            m.wait_empty()
            assert time.monotonic() < end
        assert len(old.messages) + len(new.messages) == n + 1
        m.stop()


def test_dns_is_down_for_a_while(world):
    """The program is killed: mail waits no longer than its restart takes."""
    world.m.kill('dns')
    rcpt = 'again@one.test'
    qid = world.m.send(rcpt, sender=ANN)
    wait_until(lambda: world.where(rcpt), f'{qid} arrives\n{world.m.tail()}')
    assert world.where(rcpt) == ['h2']


# -- two instances ------------------------------------------------------------------

def test_two_instances_exchange_mail_and_bounces(make):
    """near.test and far.test find each other by MX; unknown users are refused in
    the dialogue, and those who are known and fail later bounce back."""
    ports = {'near': harness.free_port(), 'far': harness.free_port()}
    with Nsd('near MX 10 mail.near\nfar MX 10 mail.far\nmail.near A 127.0.0.1\nmail.far A 127.0.0.1\n') as dns:
        def instance(name, other, **kw):
            return make(myhostname=f'mail.{name}.test', mydomain=f'{name}.test', mydestination=f'{name}.test',
                        myorigin=f'{name}.test', dns_servers=dns.address, inet_protocols='ipv4',
                        listen=f'127.0.0.1:{ports[name]}',
                        transport_maps=f'inline:{{ {other}.test=smtp:{other}.test:{ports[other]} }}',
                        aliases='postmaster: cat\nlost: nobody@gone.test\n', **AGAIN, **kw)
        near, far = instance('near', 'far'), instance('far', 'near', local_recipient_maps='')
        for i, name in ((near, 'near'), (far, 'far')):
            i.port = ports[name]
            i.start()
        n = 25
        for i in range(n):
            near.send(['ann@far.test', 'ben@far.test'], sender='ann@near.test',
                      body=f'Subject: to far {i}\r\nFrom: ann\r\n\r\n.dot\r\n')
            far.send('cat@near.test', sender='ann@far.test', body=f'Subject: to near {i}\r\n\r\n\xe4\r\n'.encode('latin-1'))
        for box, what in ((far.mail('ann', n), 'to far'), (far.mail('ben', n), 'to far'), (near.mail('cat', n), 'to near')):
            got = sorted(message_from_bytes(b)['Subject'] for b in box)
            assert got == sorted(f'{what} {i}' for i in range(n))
            for b in box:
                assert len(re.findall(rb'^Received: ', b, re.M)) == 2
                assert b.endswith(b'\n.dot\n' if what == 'to far' else b'\n\xe4\n')
        # refused in the dialogue: the sender's host tells its own user
        far.send('nobody@near.test', sender='ben@far.test')
        _, _, status, _ = parse(next(b for b in far.mail('ben', n + 1) if b'multipart/report' in b))
        assert status[1]['Diagnostic-Code'].startswith('smtp; 550 5.1.1') and status[1]['Remote-MTA'] == \
            'dns; mail.near.test'
        # taken, and failing there: the bounce crosses back
        near.send('nobody@far.test', sender='ben@near.test')
        [bounce] = near.mail('ben', 1)
        got, _, status, _ = parse(bounce)
        assert status[0]['Reporting-MTA'] == 'dns; mail.far.test' and status[1]['Status'] == '5.1.1'
        assert len(re.findall(r'^Received: ', bounce.decode(), re.M)) >= 1
        # a bounce that finds nobody there becomes postmaster's
        near.send('nobody@far.test', sender='nobody@near.test')
        [double] = far.mail('cat', 1)
        assert 'A notice could not be delivered' in parse(double)[0]['Subject']
        near.wait_empty()
        far.wait_empty()
        assert [len(near.maildir(u)) for u in ('ann', 'ben', 'cat')] == [0, 1, n]
        near.stop()
        far.stop()
