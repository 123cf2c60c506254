"""The bench refuses what would make its figures mean nothing."""
import io
import os
import sys
from pathlib import Path

import pytest

import harness

sys.path.insert(0, str(harness.SRC / 'tests' / 'bench'))
import bench  # noqa: E402


class Home:
    """Looks to the bench like a target that has delivered."""
    def __init__(self, path, messages, queued=0):
        self.maildir, self.left = path / 'Maildir', queued
        (self.maildir / 'new').mkdir(parents=True)
        for i in range(messages):
            self.put(str(i), i)

    def put(self, name, number, size=bench.SIZE):
        head = f'Received: from client.test\nMessage-Id: <{number}@client.test>\n\n'
        (self.maildir / 'new' / name).write_text(head + 'x' * (size - len(head)))

    def queued(self):
        return self.left


def test_all_there_is_right(tmp_path):
    assert bench.wrong_mail(Home(tmp_path, 20), 20) == ''


def test_lost_doubled_shortened_and_queued_are_named(tmp_path):
    t = Home(tmp_path, 20, queued=2)
    (t.maildir / 'new/7').unlink()
    t.put('again', 8)                     # the number of files is right again
    t.put('9', 9, size=bench.SIZE - 1)
    assert bench.wrong_mail(t, 20) == '1 lost, 1 doubled, 1 shortened, 2 left in the queue'


def test_nothing_delivered_is_all_lost(tmp_path):
    t = Home(tmp_path, 0)
    (t.maildir / 'new').rmdir()
    t.maildir.rmdir()
    assert bench.wrong_mail(t, 20) == '20 lost'


def test_a_run_that_lost_mail_fails_and_counts_in_no_ratio():
    def row(target, cpu, wrong=''):
        return dict(workload='local-20-new', target=target, round=0, cpu_ms_per_message=cpu, per_s=10, wrong=wrong)
    out = io.StringIO()
    assert bench.summary([row('veredus', 1.0), row('postfix', 4.0)], out) == []
    assert '| 0.250 |' in out.getvalue()
    out = io.StringIO()
    missed = bench.summary([row('veredus', 1.0, '1 lost'), row('postfix', 4.0)], out)
    assert missed == ['local-20-new veredus round 0: 1 lost'] and '0.250' not in out.getvalue()


def test_missed_bars_are_named():
    rows = [dict(workload='local-20-new', target=t, round=0, cpu_ms_per_message=c, wrong='')
            for t, c in (('veredus', 1.0), ('postfix', 2.0))]
    rows += [dict(r, workload='relay-20-new', cpu_ms_per_message=c) for r, c in zip(rows, (0.3, 1.0))]
    rows += [dict(workload='fan-1000', target=t, round=0, cpu_ms_per_message=1.0, per_s=s, wrong='')
             for t, s in (('veredus', 900), ('exim', 1000))]
    rows.append(dict(workload='idle-2000', target='veredus', round=0, smtpd_pss_mib=41.0, wrong=''))
    rows.append(dict(workload='out-1000', target='veredus', round=0, remote_pss_mib=40.1, wrong=''))
    assert bench.summary(rows, io.StringIO()) == [
        'local-20-new: 0.50 of the CPU of postfix, not at most 0.33', 'idle-2000: more than 40 MiB',
        'relay-20-new: 0.30 of the CPU of postfix, not at most 0.25', 'fan-1000: 0.90 times as fast as exim',
        'out-1000: more than 40 MiB']


def test_no_module_hides_another():
    """They are imported side by side, by their names alone."""
    names = [f.name for d in ('bench', 'e2e') for f in (harness.SRC / 'tests' / d).glob('*.py')]
    assert len(set(names)) == len(names)


def test_what_came_to_the_sink_is_counted(tmp_path):
    sink = bench.Sink.__new__(bench.Sink)
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
