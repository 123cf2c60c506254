"""Addresses end to end: aliases and their compiler, maps, relay control."""
import json
import os
import re

import pytest

import harness
from harness import ROOT, wait_until

HOST = harness.HOST


def rcpt(mta, address, sender='sender@client.test'):
    """The reply to RCPT in a session of its own."""
    with mta.client() as c:
        c.hello()
        assert c.cmd(f'MAIL FROM:<{sender}>').code == 250
        r = c.cmd(f'RCPT TO:<{address}>')
        c.cmd('QUIT')
    return r


def is_reply(r, code, esc, text=''):
    assert (r.code, r.esc) == (code, esc) and text in r.lines[-1], r


@pytest.fixture(scope='module')
def world():
    """An instance with a map of every kind; its client may not relay."""
    i = harness.Instance(
        aliases='postmaster: root\nroot: ann\nteam: ann, ben, "cat"\nall: team, ann\n'
                'self: \\ben\nben: ben, cat\nout: x@outside.test\ngone: nobody\n',
        mynetworks='10.0.0.0/8',
        virtual_alias_maps='inline:{ virt.test=x, info@virt.test=team, {both@virt.test=ann, cat@local.test}, '
                           '@all.test=ann, all.test=x }',
        canonical_maps='inline:{ ann.smith=ann, @old.test=@local.test }', relay_domains='old.test, relay.test',
        relocated_maps='inline:{ moved=new@elsewhere.test, {phone=+1 555} }')
    i.start()
    yield i
    try:
        i.stop()
    finally:
        i.remove()


@pytest.mark.parametrize('address, users', [
    ('team', 'ann ben cat'), ('ALL@local.test', 'ann ben cat'), ('self@localhost', 'ben'), ('ben@local.test', 'ben cat'),
    ('postmaster', 'ann'), (f'Postmaster@{HOST}', 'ann'), ('root@local.test', 'ann'), ('team+x@local.test', 'ann ben cat'),
    ('ann+lists@local.test', 'ann'), ('ann@[127.0.0.1]', 'ann'), ('"cat"@local.test', 'cat'),
    ('info@virt.test', 'ann ben cat'), ('both@VIRT.test', 'ann cat'), ('anybody@all.test', 'ann'),
    ('ann.smith@local.test', 'ann'), ('cat@old.test', 'cat'), (f'@a.test,@b.test:cat@{HOST}', 'cat'),
])
def test_expansion(world, address, users):
    """Each user that is meant gets one copy, nobody else gets any."""
    before = {u: set(world.maildir(u)) for u in world.home}
    with world.client() as c:
        c.hello()
        c.open(address)
        c.send(f'Subject: for {address}\r\n\r\nhello\r\n.\r\n')
        assert c.reply('DOT').code == 250
        c.cmd('QUIT')
    world.wait_empty()
    got = {u: len(set(world.maildir(u)) - before[u]) for u in world.home}
    assert got == {u: int(u in users.split()) for u in world.home}


@pytest.mark.parametrize('address, code, esc, text', [
    ('nobody@local.test', 550, '5.1.1', '<nobody@local.test>: Recipient address rejected: User unknown'),
    ('nobody@virt.test', 550, '5.1.1', 'User unknown in virtual alias table'),
    ('x@outside.test', 550, '5.7.1', '<x@outside.test>: Relay access denied'),
    ('x%outside.test@relay.test', 550, '5.7.1', 'Relay access denied'),
    ('gone@local.test', 451, '4.3.5', '"gone" names <nobody@'),
    ('moved@local.test', 551, '5.1.6', 'User has moved to new@elsewhere.test; please try <new@elsewhere.test>'),
    ('phone@local.test', 550, '5.1.6', 'User has moved to +1 555'),
    ('nobody@old.test', 550, '5.1.1', '<nobody@old.test>'),
])
def test_refusals(world, address, code, esc, text):
    is_reply(rcpt(world, address), code, esc, text)


@pytest.mark.parametrize('address, target', [
    ('X@relay.test', 'X@relay.test smtp:relay.test'), ('x@Sub.relay.test', 'x@Sub.relay.test smtp:sub.relay.test'),
    ('out@local.test', 'x@outside.test smtp:outside.test'), ('x@[198.51.100.7]', 'x@[198.51.100.7] smtp:[198.51.100.7]'),
    ('x@outside.test', 'x@outside.test smtp:outside.test'),
])
def test_routes(world, address, target):
    """Where what leaves the host goes: `trace' asks who decides for real mail."""
    out = world.veredus('trace', '-j', 'local', 'sender@client.test', address).stdout
    rows = [json.loads(x) for x in out.splitlines()]
    assert [f"{r['key']} {r['result'].replace(' ', ':', 1)}" for r in rows if r['what'] == 'target'] == [target]
    assert [r['what'] for r in rows][-2:] == ['try', 'decision'] and rows[-1]['result'].startswith('250 ')


def test_trace_knows_soft_bounce(make):
    """What trace says is what RCPT is answered; and what names the step."""
    m = make(soft_bounce='yes').start()
    for client, address in (('127.0.0.1', f'nobody@{m.settings["myhostname"]}'), ('127.0.0.1', 'ann@local.test')):
        rows = [json.loads(x) for x in m.veredus('trace', '-j', client, 'sender@client.test', address).stdout.splitlines()]
        with m.client() as c:
            c.hello()
            c.cmd('MAIL FROM:<sender@client.test>')
            assert c.cmd(f'RCPT TO:<{address}>').lines[0] == rows[-1]['result']
        softened = [r['result'] for r in rows if r['what'] == 'soft_bounce']
        assert softened == ([] if rows[-1]['code'] == 250 else ['yes: 550 5.1.1 is said as 450 4.1.1'])
    assert [json.loads(x)['code'] for x in m.veredus('trace', '-j', 'local', '"@', 'ann').stdout.splitlines()[-1:]] == [501]
    m.stop()


def test_newaliases_knows_how_deep_the_resolver_goes(make):
    """What it takes is delivered, and what it refuses would be deferred."""
    m = make(alias_recursion_limit='3', aliases='a: b\nb: c\nc: ann\n').start()

    def decision():
        out = m.veredus('trace', '-j', 'local', 'sender@client.test', 'a@local.test').stdout
        return json.loads(out.splitlines()[-1])['result']
    assert decision().startswith('250 ')
    m.aliases_path.write_text('a: b\nb: c\nc: d\nd: ann\n')
    r = m.tool('newaliases')
    assert r.returncode == 65 and re.match(f'{m.aliases_path}:1: a: leads through more than 3 aliases ', r.stderr), r
    assert decision().startswith('250 ')
    m.write_conf(alias_recursion_limit='4')
    assert m.tool('newaliases').returncode == 0
    wait_until(lambda: decision().startswith('451 4.3.5 '), 'the running one still goes 3 deep')
    assert m.veredus('reload').returncode == 0
    wait_until(lambda: decision().startswith('250 '), 'four are as deep as may be')
    m.stop()


RELAY_FORMS = '''x%outside.test@local.test x!y@local.test outside.test!x@local.test
"x@outside.test"@local.test x%outside.test%a@local.test a!b!x@local.test
x%outside.test@[127.0.0.1] outside.test!x@[127.0.0.1] "x@outside.test"@[127.0.0.1]
x%outside.test "x@outside.test" outside.test!x x@outside.test x@[198.51.100.7]
x@[IPv6:2001:db9::1] x%y@outside.test outside.test!x@other.test "x@a"@outside.test
x%outside.test@localhost outside.test!x@localhost a!x%b@local.test x%b!a@local.test
x%@local.test !x@local.test x!@local.test %@local.test !@local.test "@"@local.test
"x@[198.51.100.7]"@local.test "<x@outside.test>"@local.test
postmaster%outside.test@local.test ann%outside.test@local.test
outside.test!ann@local.test "ann@outside.test"@local.test ann!ann@local.test
ann%local.test@local.test "ann@local.test"@local.test @local.test:x@outside.test
@outside.test,@local.test:x@outside.test @outside.test:x%a@local.test
ann%local.test%outside.test@local.test'''.split()


def test_relay_forms(world):
    """No form of routing gets a stranger's mail anywhere."""
    assert len(RELAY_FORMS) >= 40
    with world.client() as c:
        c.hello()
        assert c.cmd('MAIL FROM:<sender@client.test>').code == 250
        for form in RELAY_FORMS[:18]:
            is_reply(c.cmd(f'RCPT TO:<{form}>'), 550, '5.7.1', 'Relay access denied')
        c.cmd('QUIT')
    for form in RELAY_FORMS[18:]:
        is_reply(rcpt(world, form), 550, '5.7.1', 'Relay access denied')


def test_relocated_forward(make):
    mta = make(relocated_forward='yes',
               relocated_maps='inline:{ old=ann@local.test, away=x@outside.test }').start()
    is_reply(rcpt(mta, 'old@local.test'), 251, '2.1.5', 'User not local; will forward to <ann@local.test>')
    is_reply(rcpt(mta, 'away@local.test'), 251, '2.1.5', 'User not local; will forward to <x@outside.test>')
    mta.send('old@local.test')
    mta.mail('ann')


def test_new_aliases_at_once(make):
    """A new map is used without a reload; a bad text leaves the old one."""
    mta = make(aliases='who: ann\n').start()
    mta.send('who@local.test')
    mta.mail('ann')
    assert '1 aliases, longest 3 bytes, 3 bytes total' in mta.set_aliases('who: ben\n').stdout
    wait_until(lambda: 'ben' in mta.veredus('map', '-q', 'who', 'alias_maps').stdout, 'the new map')

    def to_ben():
        mta.send('who@local.test')
        mta.wait_empty()
        return len(mta.maildir('ben')) > 0
    wait_until(to_ben, 'mail goes to ben')
    mta.aliases_path.write_text('who: cat\nloop: pool\npool: loop\nbad line\ncmd: |true\n')
    for command in (('newaliases',), ('newaliases', '-C', mta.conf), ('sendmail', '-bi')):
        r = mta.tool(*command)
        assert r.returncode == 65, r
        for line in ('aliases:4: bad line: not of the form', 'aliases:5: |true: commands are not available'):
            assert line in r.stderr, r.stderr
    before = len(mta.maildir('ben'))
    mta.send('who@local.test')
    mta.mail('ben', before + 1)
    assert mta.maildir('cat') == []


def test_canonical_in_the_header(make):
    """Mail of this host is rewritten in the header, strangers' mail is not."""
    mta = make(canonical_maps='inline:{ ann=ann.smith@local.test }', aliases='ann.smith: ann\n',
               mynetworks='10.0.0.0/8').start()
    body = 'From: Ann <ann@local.test>\r\nTo: cat@local.test, ann@local.test (me)\r\n\r\nx\r\n'
    r = mta.tool('sendmail', '-f', 'ann@local.test', 'ben@local.test', input=body.replace('\r', ''))
    assert r.returncode == 0, r.stderr
    [m] = mta.mail('ben')
    assert b'\nFrom: Ann <ann.smith@local.test>\nTo: cat@local.test, ann.smith@local.test (me)\n' in m
    assert m.startswith(b'Return-Path: <ann.smith@local.test>\n')
    mta.send('cat@local.test', body)
    [m] = mta.mail('cat')
    assert b'\nFrom: Ann <ann@local.test>\nTo: cat@local.test, ann@local.test (me)\n' in m


def test_map_tool(make):
    mta = make()
    text = mta.dir / 'virtual'
    text.write_text('Ann@Example.org  one,\n  two\n# none\n"a b"@x  three\n')
    r = mta.veredus('map', text)
    assert (r.returncode, r.stderr) == (65, ''.join([
        f'{text}:4: white space is missing after the quoted key: \\x22a b\\x22@x  three\n'.replace('\\x22', '"'),
        f'veredus: {text}: the map before stays in force\n'])), r
    text.write_text('Ann@Example.org  one,\n  two\n')
    assert '1 entries' in mta.veredus('map', text).stdout
    r = mta.veredus('map', '-q', 'ANN@example.org', f'cdb:{text}')
    assert (r.returncode, r.stdout) == (0, 'one, two\n')
    assert mta.veredus('map', '-q', 'none', f'cdb:{text}').returncode == 1
    r = mta.veredus('map', '-q', 'none', 'hash:/x')
    assert r.returncode == 78 and 'not of the form type:name' in r.stderr
    assert mta.veredus('map').returncode == 64
    assert sorted(os.listdir(mta.dir)).count('virtual.cdb') == 1
    assert not [f for f in os.listdir(mta.dir) if f.startswith('.veredus')]


@pytest.mark.skipif(not ROOT, reason='needs root: two users')
def test_map_of_another_user(make):
    """Root compiles a user's text with that user's rights."""
    mta = make()
    uid = harness.FIRST_UID
    d = mta.dir / 'theirs'
    d.mkdir()
    (d / 'm').write_text('a b\n')
    os.chown(d, uid, uid)
    os.chown(d / 'm', uid, uid)
    assert mta.veredus('map', d / 'm').returncode == 0
    assert (d / 'm.cdb').stat().st_uid == uid
    os.chown(d / 'm', 0, 0)
    r = mta.veredus('map', d / 'm')
    assert r.returncode == 65 and 'others could change the map' in r.stderr
