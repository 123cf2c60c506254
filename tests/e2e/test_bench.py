"""The bench refuses what would make its figures mean nothing."""
import argparse
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness

sys.path.insert(0, str(harness.SRC / 'tests' / 'bench'))
import bars  # noqa: E402
import bench  # noqa: E402
import peers  # noqa: E402
import sinks  # noqa: E402
import targets  # noqa: E402
import workloads  # noqa: E402
import costs  # noqa: E402


class Home:
    """Looks to the bench like a target that has delivered."""
    def __init__(self, path, messages, queued=0):
        self.maildir, self.left = path / 'Maildir', lambda: queued
        self.maildirs = [self.maildir]
        (self.maildir / 'new').mkdir(parents=True)
        for i in range(messages):
            self.put(str(i), i)

    def put(self, name, number, size=workloads.SIZE):
        head = f'Received: from client.test\nMessage-Id: <{number}@client.test>\n\n'
        (self.maildir / 'new' / name).write_text(head + 'x' * (size - len(head)))


def test_all_there_is_right(tmp_path):
    assert workloads.wrong_mail(Home(tmp_path, 20), 20) == ''


def test_lost_doubled_shortened_and_queued_are_named(tmp_path):
    t = Home(tmp_path, 20, queued=2)
    (t.maildir / 'new/7').unlink()
    t.put('again', 8)                     # the number of files is right again
    t.put('9', 9, size=workloads.SIZE - 1)
    assert workloads.wrong_mail(t, 20) == '1 lost, 1 doubled, 1 shortened, 2 left in the queue'


def test_nothing_delivered_is_all_lost(tmp_path):
    t = Home(tmp_path, 0)
    (t.maildir / 'new').rmdir()
    t.maildir.rmdir()
    assert workloads.wrong_mail(t, 20) == '20 lost'


def test_each_user_among_many_gets_it_once(tmp_path):
    t = Home(tmp_path / 'a', 1)
    t.maildirs += Home(tmp_path / 'b', 1).maildirs
    assert workloads.wrong_mail(t, 1, 2) == ''
    assert workloads.wrong_mail(t, 1, 3) == '1 lost'
    t.put('again', 0)
    assert workloads.wrong_mail(t, 1, 2) == '1 doubled'


def row(workload, target, rnd=0, wrong='', **figures):
    return dict(workload=workload, target=target, round=rnd, wrong=wrong, **figures)


def judged(rows):
    """The rows of the table of bars, without its head, and what was missed."""
    out = io.StringIO()
    missed = bars.summary(rows, out)
    table = out.getvalue().split('| measured | |')[1].splitlines()[2:]
    return [line for line in table if line.startswith('|')], missed


def test_a_run_that_lost_mail_fails_and_counts_in_no_ratio():
    rows = [row('local-20-new', 'veredus', cpu_ms_per_message=0.5), row('local-20-new', 'postfix', cpu_ms_per_message=4.0)]
    assert judged(rows) == (['| local-20-new | CPU a message of Postfix | <= 0.167 | <= 0.100 | 0.125 | reached |'], [])
    rows[0]['wrong'] = '1 lost'
    assert judged(rows) == ([], ['local-20-new veredus round 0: 1 lost'])


def test_the_better_of_default_and_tuned_counts_inside_a_round():
    def rows(figure, mine, *others):
        return [row('fan-1000', t, i, **{figure: v}) for i, round_ in enumerate(zip(mine, *others))
                for t, v in zip(('veredus', 'postfix', 'postfix-tuned'), round_)]
    by = bars.grouped(rows('per_s', (100, 300, 90), (10, 100, 30), (20, 50, 10)))
    assert bars.ratio(by['fan-1000'], bars.POSTFIX, 'per_s', True) == 3     # of 5, 3, 3
    by = bars.grouped(rows('drain_s', (1, 1, 1), (2, 8, 5), (4, 2, 6)))
    assert bars.ratio(by['fan-1000'], bars.POSTFIX, 'drain_s', False) == 0.5
    del by['fan-1000']['postfix-tuned'][0]      # an unfinished round counts not
    assert bars.ratio(by['fan-1000'], bars.POSTFIX, 'drain_s', False) == (1 / 2 + 1 / 5) / 2


def test_missed_bars_are_named():
    def pair(workload, figure, mine, theirs):
        return [row(workload, 'veredus', **{figure: mine}), row(workload, 'postfix', **{figure: theirs})]
    rows = [*pair('local-20-new', 'cpu_ms_per_message', 1.0, 5.0), *pair('relay-20-kept', 'per_s', 100, 10),
            *pair('local-1-kept', 'delivered_s', 0.7, 1.0), *pair('backlog', 'mailq_s', 0.3, 1.0),
            *pair('flush-32', 'accepted_per_s', 300, 100), row('flush-32', 'veredus', 1, flushes_per_message=0.2),
            *pair('memory-100', 'memory_mib', 30, 100), row('idle-2000', 'veredus', smtpd_pss_mib=41.0),
            row('out-1000', 'veredus', remote_pss_mib=40.1), row('fan-1000', 'veredus', per_s=900),
            row('fan-1000', 'exim', per_s=1000)]
    table, missed = judged(rows)
    assert missed == [
        'local-20-new: CPU a message of Postfix: 0.200, not <= 0.167', 'local-1-kept: time of Postfix: 0.700, not <= 0.600',
        'backlog: mailq: time of Postfix: 0.300, not <= 0.200', 'flush-32: flushes a message: 0.200, not <= 0.100',
        'memory-100: memory of all of Postfix: 0.300, not <= 0.250', 'idle-2000: MiB of smtpd: 41.00, not <= 40.00',
        'out-1000: MiB of remote: 40.10, not <= 40.00', 'fan-1000: 0.90 times as fast as exim']
    assert '| relay-20-kept | messages/s of Postfix | >= 6.00 | >= 10.00 | 10.00 | goal |' in table
    assert '| flush-32 | accepted/s of Postfix | >= 2.00 | >= 4.00 | 3.00 | reached |' in table


def test_it_is_said_when_the_load_tools_are_the_bound():
    rows = [row('relay-20-new', 'veredus', per_s=300, cpu_ms_per_message=0.1, tools_cpu_ms_per_message=0.3, cores=2),
            row('relay-20-new', 'postfix', per_s=100, cpu_ms_per_message=3.0, tools_cpu_ms_per_message=0.3)]
    missed = ('relay-20-new: messages/s of Postfix: 3.00, not >= 4.00; smtp-source and smtp-sink took 0.300 ms of CPU a '
              'message, we %s: 2 cores are full at %s/s')
    assert judged(rows)[1] == [missed % ('0.100', 5000) + ': they are the bound']
    rows[0]['cpu_ms_per_message'] = 0.5
    assert judged(rows)[1] == [missed % ('0.500', 2500)]
    rows.append(row('relay-20-new', 'tools', per_s=410, cpu_ms_per_message=0.0))
    assert judged(rows)[1] == [missed % ('0.500', 2500) + '; without us they reach 410/s, 4.10 of Postfix']
    rows[2]['per_s'] = 390
    assert judged(rows)[1] == [missed % ('0.500', 2500) + '; without us they reach 390/s, 3.90 of Postfix: they are the '
                               'bound']
    del rows[0]['tools_cpu_ms_per_message']
    assert judged(rows)[1] == ['relay-20-new: messages/s of Postfix: 3.00, not >= 4.00']


def test_every_bar_has_its_workload():
    assert {w for b in bars.BARS for w in b.workloads} <= set(workloads.WORKLOADS)
    assert {n for w in workloads.WORKLOADS.values() for n in w.only or ()} <= {*workloads.PAIR, 'exim', 'tools'}


FLUSHER = '''
import os, tempfile
with tempfile.TemporaryFile(dir={dir!r}) as f:
    f.write(b'x'); f.flush()
    for _ in range(3):
        os.fsync(f.fileno()); os.fdatasync(f.fileno())
'''


def test_a_slow_flush_takes_its_time_and_is_counted(tmp_path):
    flushes = targets.Flushes(tmp_path, 20000)
    start = time.monotonic()
    subprocess.run([sys.executable, '-c', FLUSHER.format(dir=str(tmp_path))], check=True, env=dict(os.environ, **flushes.env))
    assert flushes() == 6 and time.monotonic() - start >= 6 * 0.02
    assert flushes.blind([os.getpid()]) == [harness.Instance.comm(os.getpid())]
    flushes.count.unlink()
    r = subprocess.run([sys.executable, '-c', ''], env=dict(os.environ, **flushes.env), capture_output=True, text=True)
    assert (r.returncode, r.stderr) == (70, 'flush: BENCH_FLUSH_COUNT fails\n')


@pytest.mark.skipif(not harness.ROOT, reason='only root can set the uids of programs')
def test_programs_behind_their_walls_are_slowed_and_counted(tmp_path, make):
    """Each program is given flush.so though master passes nothing on."""
    i = make(users=('ann',))
    t = targets.Veredus.__new__(targets.Veredus)
    t.i, t.flushes = i, targets.Flushes(i.dir, 1000)
    t.wrap()
    i.start(env=dict(os.environ, **t.flushes.env))
    assert t.flushes.blind(i.pids()) == []
    i.send('ann@mx.veredus.test')
    i.mail('ann')
    assert t.flushes() >= 2               # the queue's, the mailbox's


@pytest.mark.skipif(not harness.ROOT, reason='only root makes cgroups')
def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, 'PREFIX', harness.PREFIX)
    monkeypatch.setenv('VEREDUS_TMP', str(tmp_path))
    t = targets.Veredus(harness.PREFIX, tmp_path)
    monkeypatch.setattr(targets.Veredus, 'wrap', lambda self: self.i.write_conf(queue_minfree='much'))
    args = argparse.Namespace(messages=10, disk='', flush_us=0, peers=tmp_path)
    with pytest.raises(AssertionError):
        bench.once(t, 'flush-1', args, 0)
    assert list(tmp_path.iterdir()) == []
    assert not list(targets.Cgroup.mount().glob(f'veredus-bench-{os.getpid()}-*'))


def test_a_listing_is_counted():
    ours = (b'--Queue ID---- --Size-- --Arrival Time-- ---Sender/Recipient\n'
            b'001J13CFM9KQJ      2357 Wed Nov 25 15:02:58  sender@client.test\n    (4.4.1 no)\n   user@remote.test\n\n'
            b'001J13CFM9KR9*     2357 Wed Nov 25 15:02:58  sender@client.test\n\n-- 4 Kbytes in 2 messages.\n')
    theirs = (b'-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n'
              b'5A1B22C0D1!     2357 Wed Nov 25 15:02:58  sender@client.test\n (no)\n  user@remote.test\n\n-- 2 Kbytes in 1 Request.\n')
    assert targets.Target.listed(ours) == 2 and targets.Target.listed(theirs) == 1


@pytest.mark.skipif(not (harness.ROOT and os.environ.get('VEREDUS_LONG')), reason='for check-long, by root')
def test_a_small_run_of_all(tmp_path):
    """Every workload runs, loses nothing, and leaves nothing behind."""
    out = tmp_path / 'rows'
    p = subprocess.Popen([sys.executable, '-B', str(harness.SRC / 'tests/bench/bench.py'), '--prefix', str(harness.PREFIX),
                          '--peers', str(peers.PLACE), '-m', '40', '-r', '1', '-o', str(out)],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = p.communicate()[1]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(x['workload'], x['target'], x['wrong']) for x in rows if x['wrong']] == [], said
    assert {x['workload'] for x in rows} == set(workloads.WORKLOADS), said
    assert not list(targets.Cgroup.mount().glob(f'veredus-bench-{p.pid}-*')) and not list(peers.PLACE.glob('bench*/'))


PERF = '''cleanup 123 [001] 10.5: 200 cpu-clock:
\tffff find_inode_bit+0x12 ([kernel.kallsyms])
\tffff ext4_create+0x1 ([kernel.kallsyms])
\tffff __x64_sys_openat+0x1 ([kernel.kallsyms])
\tffff entry_SYSCALL_64+0x1 ([kernel.kallsyms])
\t7fff openat64+0x1 (/lib/libc.so.6)

local worker 124/125 [000] 10.6: 200 cpu-clock:
\tffff clear_page+0x1 ([kernel.kallsyms])
\tffff asm_exc_page_fault+0x1 ([kernel.kallsyms])
\t5555 parse+0x3 (/usr/libexec/local)

smtpd 9 [000] 10.7: 200 cpu-clock:
\t5555 parse+0x3 (/usr/libexec/smtpd)

smtpd 9 [000] 10.7: 200 cpu-clock:
\tffff schedule+0x3 ([kernel.kallsyms])
'''


def test_samples_are_told_apart():
    assert costs.samples(PERF) == {('cleanup', 'openat'): 1, ('local worker', 'page fault'): 1,
                                   ('smtpd', 'own code'): 1, ('smtpd', 'other, kernel'): 1}


def test_no_module_hides_another():
    """They are imported side by side, by their names alone."""
    names = [f.name for d in ('bench', 'e2e') for f in (harness.SRC / 'tests' / d).glob('*.py')]
    assert len(set(names)) == len(names)


def test_what_came_to_the_sink_is_counted(tmp_path):
    sink = sinks.Sink.__new__(sinks.Sink)
    sink.dir = tmp_path

    def dumped(ids, rcpts):
        (tmp_path / 'dump').write_text(''.join(f'X-Rcpt-Args: <{r}>\nMessage-Id: <{i}>\n\nx\n'
                                               for i, r in zip(ids, rcpts)))
    assert sink.wrong(2, 2) == '0 messages, 0 of them different, not 2'
    dumped('ab', 'uu')
    assert sink.wrong(2, 2) == '' and sink.wrong(3, 3)
    dumped('aab', 'uuu')
    assert sink.wrong(2, 2) == '3 messages, 2 of them different, not 2'
    dumped('aaa', 'uvw')
    assert sink.wrong(1, 3) == ''
    dumped('aaa', 'uvv')
    assert sink.wrong(1, 3) == '3 recipients, 2 of them different, not 3'


def other_file_system(path):
    return next((d for d in ('/dev/shm', '/run', '/sys', '/proc')
                 if os.path.isdir(d) and os.stat(d).st_dev != os.stat(path).st_dev), None)


def test_different_file_systems_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, 'fs_type', lambda path: 'ext2/ext3')
    bench.refuse_directories([tmp_path, tmp_path])
    with pytest.raises(SystemExit, match='different file systems'):
        bench.refuse_directories([tmp_path, Path(other_file_system(tmp_path))])


def test_a_tmpfs_is_refused(tmp_path, monkeypatch):
    mounts = [line.split() for line in open('/proc/mounts')]
    real = next((Path(f[1]) for f in mounts if f[2] == 'tmpfs' and os.path.ismount(f[1])), None)
    if real is None:                      # none is mounted here
        real = tmp_path
        monkeypatch.setattr(bench, 'fs_type', lambda path: 'tmpfs')
    with pytest.raises(SystemExit, match='on a tmpfs'):
        bench.refuse_directories([real])


@pytest.mark.parametrize('word', bench.NOT_MEASURED)
def test_programs_with_hooks_or_sanitizers_are_refused(tmp_path, word):
    d = tmp_path / 'libexec/veredus'
    d.mkdir(parents=True)
    with pytest.raises(SystemExit, match='no Veredus'):
        bench.refuse_programs(tmp_path)
    (d / 'cleanup').write_bytes(b'\x7fELF VEREDUS_IO_PLAN=\0')
    bench.refuse_programs(tmp_path)
    (d / 'smtpd').write_bytes(b'\x7fELF\0' + word + b'\0')
    with pytest.raises(SystemExit, match='smtpd has crash hooks or sanitizers'):
        bench.refuse_programs(tmp_path)
