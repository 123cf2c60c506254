"""veredus spool check and dump; backup, restore and moving house."""
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

import harness
from harness import ROOT, wait_until
from sink import Sink

NAMESPACE = ROOT and subprocess.run(['unshare', '-m', 'true'], capture_output=True).returncode == 0


def check(m, *args, expect=0):
    """(findings, summary) of `spool check -j'."""
    r = m.veredus('spool', 'check', '-j', *args)
    assert r.returncode == expect, (r.returncode, r.stdout, r.stderr)
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    return rows[:-1], rows[-1]


def facts(m, what, *args):
    r = m.veredus('spool', 'dump', '-j', *args, what)
    assert r.returncode == 0, r.stderr
    return [(x['name'], x['value']) for x in map(json.loads, r.stdout.splitlines())]


def tree(top):
    """Every file of a spool: name, size, time, octets."""
    return {p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest())
            for p in sorted(top.rglob('*')) if p.is_file()}


def flip(path, at):
    with open(path, 'r+b') as f:
        f.seek(at)
        octet = f.read(1)[0]
        f.seek(at)
        f.write(bytes([octet ^ 0x40]))


@pytest.fixture
def nowhere(make):
    """An instance whose mail to far.test waits: nobody listens there."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        yield make(relayhost=f'[127.0.0.1]:{s.getsockname()[1]}')


def test_a_spool_at_rest(nowhere):
    m = nowhere
    m.start()
    ids = [m.send(['x@far.test', 'y@far.test'], sender='ann@local.test') for _ in range(5)]
    wait_until(lambda: all(r['attempts'] > 0 for r in m.queue()) and len(m.queue()) == 10, 'all were tried')
    m.stop()
    before = tree(m.spool)
    found, s = check(m)
    assert found == [] and (s['messages'], s['recipients_open'], s['journal_only'], s['damaged']) == (5, 10, 0, 0)
    text = m.veredus('spool', 'check').stdout
    assert re.search(r'\b5 messages', text) and re.search(r'\b10 recipients', text), text
    got = facts(m, ids[0])
    assert ('reverse_path', '<ann@local.test>') in got
    assert [v for n, v in got if n == 'recipient' and 'x@far.test' in v]
    assert [v for n, v in got if n == 'fate' and 'deferred' in v]
    r = m.veredus('spool', 'dump')
    assert r.returncode == 0 and all(i in r.stdout for i in ids)
    assert m.veredus('spool', 'dump', '0000000000000').returncode == 1
    assert m.veredus('spool', 'dump', 'nonsense').returncode == 64
    assert m.veredus('spool', 'check', '-d', m.dir / 'none').returncode == 66
    assert m.veredus('spool', 'check', '-d', m.dir).returncode == 66, 'no spool'
    assert tree(m.spool) == before, 'nothing was changed'


def test_damaged_files(nowhere):
    """Each is told with its place and what it means, and is what a start makes of it."""
    m = nowhere
    m.start()
    ids = [m.send('x@far.test', sender='ann@local.test') for _ in range(4)]
    wait_until(lambda: len(m.queue()) == 4 and all(r['attempts'] > 0 for r in m.queue()), 'all were tried')
    m.stop()
    path = {p.name: p for p in m.queue_files()}
    whole = path[ids[0]].stat().st_size
    flip(path[ids[0]], whole - 3)                   # the last record
    flip(path[ids[1]], 70)                          # the content
    flip(path[ids[2]], 20)                          # the header
    (path[ids[3]].parent / ('.' + ids[3])).write_bytes(b'begun')
    (path[ids[3]].parent / 'notes.txt').write_bytes(b'of the administrator')
    found, s = check(m, expect=1)
    places = {f['place'].split('/')[-1]: f for f in found}
    assert set(places) == {*ids[:3], 'notes.txt'}
    assert 0 < places[ids[0]]['offset'] < whole and 'not done' in places[ids[0]]['what']
    assert 'checksum' in places[ids[1]]['what'] and '.corrupt' in places[ids[1]]['what']
    assert 'header' in places[ids[2]]['what'] and not places['notes.txt']['damage']
    assert (s['damaged'], s['leftovers'], s['foreign'], s['messages']) == (3, 1, 1, 2)
    m.start()
    aside = path[ids[2]].with_name(ids[2] + '.corrupt')
    wait_until(aside.exists, 'the unreadable is set aside')
    m.stop()
    found, s = check(m, expect=1)
    assert s['corrupt'] == 1 and s['leftovers'] == 0
    assert [f['damage'] for f in found if f['place'].endswith(aside.name)] == [0]
    assert [f['place'].split('/')[-1] for f in found if f['damage'] and f['offset'] == 0] == [ids[1]]


def test_a_killed_system_has_its_mail_in_the_journal(nowhere):
    """Sound: what the check finds is what the next start has; a damaged batch is
    told by segment and offset."""
    m = nowhere
    m.start()
    ids = [m.send(['x@far.test'], sender='ann@local.test') for _ in range(6)]
    wait_until(lambda: len(m.queue()) == 6, 'all are known')
    m.kill_all()
    (m.spool / 'journal' / 'notes.txt').write_bytes(b'of the administrator')
    [found], s = check(m)
    assert found['place'] == 'journal/notes.txt' and not found['damage'] and s['foreign'] == 1
    (m.spool / 'journal' / 'notes.txt').unlink()
    found, s = check(m)
    assert found == [] and s['messages'] == 6 and s['journal_only'] > 0 and s['journal_entries'] > 0
    rows = [json.loads(x) for x in m.veredus('spool', 'dump', '-j').stdout.splitlines()]
    first = next(r for r in rows if r['id'] == ids[0] and r['kind'] == 'message')
    segment = first['place'].split('/')[1]
    assert ('message', ids[0]) in facts(m, ids[0])
    assert segment in m.veredus('spool', 'dump', segment).stdout
    copy = m.dir / 'copy'
    shutil.copytree(m.spool, copy)
    file, = (copy / 'journal').glob(segment + '-*')      # the place is its number
    flip(file, first['offset'] + 100)
    if ROOT:
        subprocess.run(['chown', '-R', '--reference', str(m.spool / 'queue'), str(copy)], check=True)
    found, s = check(m, '-d', copy, expect=1)
    assert [f['place'] for f in found if f['damage']] == [first['place']], found
    assert 0 <= found[0]['offset'] <= first['offset'] and s['messages'] == 5
    m.start()
    wait_until(lambda: {r['queue_id'] for r in m.queue()} == set(ids), 'all are there')
    m.stop()
    assert check(m)[1]['messages'] == 6


def test_no_false_alarm_beside_a_running_system(make):
    """Files and segments come and go while they are read."""
    m = make(journal_segment_size='512K', journal_segments=3)
    m.start()
    over = threading.Event()
    body = 'Subject: load\r\n\r\n' + 'x' * 70 * 200 + '\r\n'

    def load():
        while not over.is_set():
            with m.smtp() as s:
                for _ in range(50):
                    s.sendmail('s@client.test', ['ann@local.test', 'ben@local.test'], body)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        seen = 0
        for _ in range(40):
            found, s = check(m)
            assert found == [], found
            seen += s['journal_entries'] > 0
            r = m.veredus('spool', 'dump')
            assert r.returncode == 0
    finally:
        over.set()
        for t in threads:
            t.join()
    assert seen > 20, 'the journal was in use'
    m.wait_empty()
    m.stop()


def run_here(m, shell):
    """A shell in a mount namespace of its own, with the instance's settings."""
    return subprocess.run(['unshare', '-m', 'sh', '-ec', shell], env=m.env(), capture_output=True,
                          text=True, timeout=60)


@pytest.mark.skipif(not NAMESPACE, reason='a tmpfs of its own needs root and a mount namespace')
def test_a_spool_in_memory_is_warned_of(make):
    m = make()
    (m.dir / 'spool').mkdir(exist_ok=True)
    veredus = harness.tool('veredus')
    r = run_here(m, f"""
        mount -t tmpfs -o mode=755 none {m.spool}
        {veredus} check || true
        {veredus} start
        {veredus} spool check 2>&1
        {veredus} stop""")
    assert r.returncode == 0, (r.stdout, r.stderr, m.tail())
    assert re.search(r'^warning: queue_directory .* lies on tmpfs', r.stdout, re.M), r.stdout
    assert len(re.findall('lies on tmpfs', m.log() + r.stderr)) == 1, 'told once'
    assert 'lies on tmpfs: nothing of it outlives the power' in r.stdout


FAKE = r"""
#include <sys/vfs.h>
int fstatfs(int fd, struct statfs *st) { *st = (struct statfs){ .f_type = 0x6969 }; return 0; }
int fstatfs64(int fd, struct statfs64 *st) { *st = (struct statfs64){ .f_type = 0x6969 }; return 0; }
"""


def test_nfs_is_refused(make):
    """As statfs(2) tells it; no NFS server can be had here."""
    m = make()
    (m.dir / 'fake.c').write_text(FAKE)
    lib = m.dir / 'fake.so'
    subprocess.run(['cc', '-shared', '-fPIC', '-D_GNU_SOURCE', '-o', lib, m.dir / 'fake.c'], check=True)
    env = dict(m.env(), LD_PRELOAD=str(lib))
    for args in ['start', '-f'], ['check']:
        r = subprocess.run([harness.tool('veredus'), *args], env=env, capture_output=True, text=True, timeout=60)
        if 'AddressSanitizer' in r.stderr or 'ASan runtime' in r.stderr:
            pytest.skip('a library in front of the sanitizer')
        said = r.stdout + r.stderr + m.log()
        assert r.returncode == 78 and re.search('queue_directory .* lies on NFS', said), said
    assert not (m.spool / 'lock').exists()


# -- moving house, backup, restore (veredus-spool(8), "BACKUP AND MOVING") ----------

def queue_of(m):
    return sorted((r['queue_id'], r['recipient']) for r in m.queue())


def other_house(make, m, spool, **more):
    """Another instance (path, host name, port, account), with this spool."""
    n = make(myhostname='new.veredus.test', queue_directory=spool,
             relayhost=m.settings['relayhost'], **more)
    n.home, n.passwd = m.home, m.passwd
    n.write_conf(local_users=m.settings['local_users'], mail_spool_directory=m.settings['mail_spool_directory'])
    return n


# The journal first: what is in it when it is read is in the archive, and what is
# not in it any more has its file by then.
PACK = ('journal', 'queue', 'drop')


def tar(m, archive):
    subprocess.run(['tar', '-C', str(m.spool), '-cf', str(archive), *PACK], check=True)


def untar(archive, spool, user=None):
    """The owners of dropped files are their senders and stay; the rest is the
    account's of the new place."""
    spool.mkdir()
    subprocess.run(['tar', '-C', str(spool), '-xpf', str(archive), '--numeric-owner'], check=True)
    if ROOT and user:
        subprocess.run(['chown', '-R', f'{user}:{user}', str(spool / 'queue'), str(spool / 'journal')], check=True)


def test_moving_to_another_host(make):
    """Stopped in order, packed, unpacked elsewhere under another path, name and
    account: all of it arrives, nothing twice."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
        m = make(relayhost=f'[127.0.0.1]:{port}')
        m.start()
        for i in range(20):
            m.send([f'x{i}@far.test', f'y{i}@far.test'], sender='ann@local.test',
                   body=f'Subject: n{i}\r\n\r\n' + 'z' * (100000 if i % 5 == 0 else 500) + '\r\n')
        m.send('nobody-yet@far.test', sender='ann@local.test')
        wait_until(lambda: len(m.queue()) == 41 and all(r['attempts'] for r in m.queue()), 'all were tried')
        held = m.queue()[0]['queue_id']
        assert m.veredus('hold', held).returncode == 0
        was = queue_of(m)
        m.stop()
        assert not list((m.spool / 'journal').glob('[0-9]*')) or check(m)[1]['journal_entries'] == 0
        tar(m, m.dir / 'spool.tar')
    new = m.dir / 'elsewhere' / 'veredus'
    new.parent.mkdir(mode=0o755)
    untar(m.dir / 'spool.tar', new, '61907')
    n = other_house(make, m, new, **({'queue_user': '61907'} if ROOT else {}))
    found, s = check(n)
    assert found == [] and (s['messages'], s['recipients_open']) == (21, 41)
    n.start()
    assert queue_of(n) == was
    assert {r['status'] for r in n.queue() if r['queue_id'] == held} == {'hold'}
    with Sink(port=port) as sink:
        assert n.veredus('release', held).returncode == 0
        assert n.veredus('flush').returncode == 0
        sink.wait(21)
        n.wait_empty()
        got = sorted(r for x in sink.messages for r in x.rcpts)
        assert got == sorted(r for _, r in was)
    n.stop()


def test_a_backup_of_a_running_system(make):
    """Whatever is in it when it is made is in it after; what came or went meanwhile may
    be missing or arrive again. None is damaged."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
        m = make(relayhost=f'[127.0.0.1]:{port}')
        m.start()
        ids = {m.send(f'x{i}@far.test', sender='ann@local.test') for i in range(50)}
        over = threading.Event()

        def load():
            while not over.is_set():
                m.send('ann@local.test')
                m.send('late@far.test', sender='ann@local.test')

        t = threading.Thread(target=load)
        t.start()
        try:
            r = subprocess.run(['tar', '-C', str(m.spool), '-cf', str(m.dir / 'b.tar'), '--ignore-failed-read',
                                *PACK], capture_output=True)
            assert r.returncode in (0, 1), r.stderr
        finally:
            over.set()
            t.join()
        m.stop()
    back = m.dir / 'back'
    untar(m.dir / 'b.tar', back)
    n = other_house(make, m, back)
    found, s = check(n)
    assert found == [] and s['messages'] >= 50
    n.start()
    wait_until(lambda: ids <= {r['queue_id'] for r in n.queue()}, 'all that was there is there')
    with Sink(port=port) as sink:
        assert n.veredus('flush').returncode == 0
        n.wait_empty()
        got = [r for x in sink.messages for r in x.rcpts]
        assert {f'x{i}@far.test' for i in range(50)} <= set(got)
        assert len([r for r in got if r != 'late@far.test']) == 50, 'none twice'
    assert '.corrupt' not in n.log() and 'damage' not in n.log()
    n.stop()


# -- a message that kills its reader (common/reading.h) ------------------------------

def has_crash_hook():
    return b'VEREDUS_CRASH_READING' in (harness.PREFIX / 'libexec/veredus/cleanup').read_bytes()


@pytest.mark.parametrize('where', ['file', 'journal'])
def test_what_kills_its_reader_twice_is_set_aside(nowhere, monkeypatch, where):
    """cleanup dies twice while it decodes one message, then goes on without it."""
    if not has_crash_hook():
        pytest.skip('needs --enable-hooks')
    m = nowhere
    m.start()
    ids = [m.send('x@far.test', sender='ann@local.test') for _ in range(3)]
    wait_until(lambda: len(m.queue()) == 3, 'all are known')
    if where == 'file':
        m.stop()
    else:
        m.kill_all()
    monkeypatch.setenv('VEREDUS_CRASH_READING', ids[1])
    m.start()
    wait_until(lambda: [p.name for p in m.queue_files() if p.suffix == '.corrupt'] == [ids[1] + '.corrupt'],
               'it is set aside')
    m.wait_log(rf'{ids[1]}: .* \(cleanup has died twice while reading it\)')
    wait_until(lambda: len(re.findall('cleanup.*died: signal 6', m.log())) == 2, 'two deaths')
    wait_until(lambda: {ids[0], ids[2]} <= {r['queue_id'] for r in m.queue()}, 'the others are there')
    assert ids[1] not in {r['queue_id'] for r in m.queue()}
    m.send('ann')
    assert len(m.mail('ann')) == 1
    found, s = check(m)
    assert s['corrupt'] == 1 and s['damaged'] == 0
    m.stop()
    # It was whole: brought back, and read by who does not die of it, it goes on.
    aside = next(p for p in m.queue_files() if p.suffix == '.corrupt')
    aside.rename(aside.with_suffix(''))
    monkeypatch.delenv('VEREDUS_CRASH_READING')
    m.start()
    wait_until(lambda: {r['queue_id'] for r in m.queue()} >= set(ids), 'all are there')
    m.stop()
