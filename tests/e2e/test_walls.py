"""The walls of the installed programs: uid, root directory, seccomp, descriptors,
and forty forbidden acts tried by each program itself (wall_probe)."""
import os
import re
import resource

import pytest

from harness import PROGRAMS, ROOT, wait_until

# program: (own uid, empty root, files it may hold open beside sockets and pipes)
TABLE = {
    'log': ('_vlog', True), 'users': ('_vusers', False), 'cleanup': ('_vqueue', False),
    'qmgr': ('_vqmgr', True), 'local': ('_vlocal', True), 'remote': ('_vremote', True), 'dns': ('_vdns', False),
    'smtpd': ('_vsmtpd', True),
}
NUMBERS = {'_vlog': 981, '_vusers': 982, '_vqueue': 983, '_vqmgr': 984, '_vlocal': 985, '_vsmtpd': 986,
           '_vremote': 987, '_vdns': 988}


def status(pid, field):
    return re.search(rf'^{field}:[ \t]*(.*)$', open(f'/proc/{pid}/status').read(), re.M).group(1)


@pytest.mark.parametrize('program', TABLE)
def test_proc_shows_the_walls(shared, program):
    user, rooted = TABLE[program]
    pid = shared.pid(program)
    assert status(pid, 'Seccomp') == '2'
    assert status(pid, 'NoNewPrivs') == '1'
    if ROOT:
        assert set(status(pid, 'Uid').split()) == {str(NUMBERS[user])}
        assert set(status(pid, 'Gid').split()) == {str(NUMBERS[user])}
        assert status(pid, 'Groups').strip() == ''
        assert int(status(pid, 'CapEff'), 16) == 0
        if rooted:
            assert os.readlink(f'/proc/{pid}/root') == str(shared.spool / 'empty')
            assert os.listdir(shared.spool / 'empty') == []


@pytest.mark.skipif(not ROOT, reason='only root sees the descriptors of programs that are not dumpable')
def test_descriptors_are_few_and_known(shared):
    for program in PROGRAMS:
        pid = shared.pid(program)
        for fd in os.listdir(f'/proc/{pid}/fd'):
            what = os.readlink(f'/proc/{pid}/fd/{fd}')
            ok = what.startswith(('socket:', 'pipe:', 'anon_inode:')) or what == '/dev/null' or \
                (program == 'log' and what == str(shared.log_path)) or \
                (program == 'cleanup' and what.startswith(str(shared.dir))) or \
                (program in ('users', 'forker', 'cleanup') and what.startswith(str(shared.dir)))
            assert ok, f'{program} has {what} open'


def test_uids_are_all_different(shared):
    if not ROOT:
        pytest.skip('one uid without root')
    uids = [status(shared.pid(p), 'Uid').split()[0] for p in TABLE]
    assert len(set(uids)) == len(uids)


def test_status_says_which_walls_stand(shared):
    r = shared.veredus('status')
    assert r.returncode == 0, r.stderr
    for program in PROGRAMS:
        assert re.search(rf'^{program}\b.*seccomp', r.stdout, re.M), r.stdout
    assert 'landlock' in r.stdout


def test_forty_forbidden_acts_in_each_program(make):
    m = make(wall_probe='yes')
    m.start()
    m.send('ann@mx.veredus.test')
    m.mail('ann')
    for program in PROGRAMS:
        m.wait_log(rf'veredus/{program}\[\d+\]: .*wall_probe: \d+ acts')
    log = m.log()
    for program in PROGRAMS:
        acts, breaches = re.search(
            rf'veredus/{program}\[\d+\]: .*wall_probe: (\d+) acts, .*?(\d+) breaches', log).groups()
        assert int(acts) >= 40 and int(breaches) == 0, (program, acts, breaches)
    assert 'BREACH' not in log
    m.stop()


def test_wall_probe_reports_a_missing_wall(make):
    """The probe itself can fail: users may read files, and says so."""
    m = make(wall_probe='yes')
    m.start()
    wait_until(lambda: re.search(r'veredus/users\[\d+\]: .*wall_probe: \d+ acts', m.log()), 'probed')
    assert re.search(r'veredus/users\[\d+\]: .*result=DONE', m.log()), 'some act is allowed to users'
    m.stop()


@pytest.mark.skipif(not ROOT, reason='needs root: a directory that others cannot enter')
def test_below_a_directory_that_others_cannot_enter(tmp_path_factory, monkeypatch):
    import tempfile
    import harness
    closed = tempfile.mkdtemp(prefix='closed')
    os.chmod(closed, 0o700)
    monkeypatch.setenv('VEREDUS_TMP', closed)
    m = harness.Instance(aliases='team: ann, ben\n')
    try:
        m.start()
        m.send('team@mx.veredus.test')
        m.mail('ann')
        m.mail('ben')
        m.set_aliases('team: cat\n')
        wait_until(lambda: m.send('team@mx.veredus.test') and m.maildir('cat'), 'the new alias is used')
        m.wait_empty()
        m.stop()
    finally:
        m.remove()
        os.rmdir(closed)


def test_as_many_descriptors_as_may_be_had(make):
    """A shell gives 1024 and allows more; root in a container may not ask for yet more."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    m = make()
    m.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)))
    soft, now = re.search(r'Max open files +(\d+) +(\d+)', open(f'/proc/{m.pid("remote")}/limits').read()).groups()
    assert soft == now and int(soft) >= hard > 1024
    m.stop()
