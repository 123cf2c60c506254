"""master: start, stop, restart, reload; and what the tools tell about it."""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess

import pytest

from harness import FIRST_UID, PREFIX, PROGRAMS, ROOT, Client, alive, free_port, tool, wait_until

EX_USAGE, EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG, EX_TEMPFAIL = 64, 69, 77, 78, 75


def rows(mta):
    r = mta.veredus('status', '-j')
    assert r.returncode == 0, r.stderr
    return [json.loads(line) for line in r.stdout.splitlines()]


def reload(mta):
    r = mta.veredus('reload')
    assert r.returncode == 0, r.stdout + r.stderr
    return r


def greeting(port):
    with socket.create_connection(('127.0.0.1', port), 5) as s:
        s.settimeout(5)
        return s.recv(200).decode()


def refuses(port):
    try:
        socket.create_connection(('127.0.0.1', port), 5).close()
        return False
    except ConnectionRefusedError:
        return True


# -- start and stop -----------------------------------------------------------

def test_start_in_the_background_status_stop(make):
    i = make()
    r = i.veredus('status')
    assert r.returncode == EX_UNAVAILABLE and 'not running' in r.stderr
    for _ in range(2):
        r = i.veredus('start')
        assert r.returncode == 0, r.stderr
        assert greeting(i.port).startswith('220 ')  # ready, not only started
        got = rows(i)
        assert [x['program'] for x in got] == ['master', *PROGRAMS]
        assert all(x['state'] == 'up' and x['restarts'] == 0 for x in got)
        pids = [x['pid'] for x in got]
        r = i.veredus('start')
        assert r.returncode == EX_UNAVAILABLE
        assert f'pid {pids[0]}' in r.stderr, r.stderr
        r = i.veredus('stop')
        assert r.returncode == 0, r.stderr
        wait_until(lambda: not any(map(alive, pids)), 'all have ended')
        assert refuses(i.port)
        assert list(i.run.glob('*/*')) == []  # no socket is left behind
    assert i.veredus('stop').returncode == EX_UNAVAILABLE


def test_second_start_in_the_foreground_is_refused(mta):
    r = subprocess.run([tool('veredus'), '-c', mta.conf, 'start', '-f'], capture_output=True, text=True, timeout=30)
    assert r.returncode == EX_UNAVAILABLE
    assert f'running already on {mta.spool}: pid {mta.proc.pid}' in r.stderr
    assert mta.is_up()


def test_two_instances_do_not_share_sockets(make, mta):
    other = make(runtime_directory=mta.run)
    r = other.veredus('start')
    assert r.returncode == EX_UNAVAILABLE and 'another instance' in r.stderr
    assert mta.veredus('status').returncode == 0


def test_stale_sockets_and_lock_of_a_killed_instance(make):
    i = make().start()
    i.kill_all()
    assert list(i.run.glob('*/*')) != []
    i.start()
    i.stop()


def test_master_killed_the_others_end_and_it_starts_again(make):
    i = make().start()
    pids = i.pids()[1:]
    os.kill(i.proc.pid, signal.SIGKILL)
    i.proc.wait()
    i.start()  # at once: waits for the old programs, if need be
    wait_until(lambda: not any(map(alive, pids)), 'the orphans have ended')
    wait_until(i.is_up, 'the new smtpd answers')
    i.send('ann@mx.veredus.test')
    i.mail('ann')
    i.stop()


@pytest.mark.parametrize('foreground', (True, False))
def test_bad_settings_stop_the_start_with_line_and_hint(make, foreground):
    i = make()
    i.write_conf(mynetwork='127.0.0.0/8', smtpd_timeout='soon')
    r = i.veredus('start', *(['-f'] if foreground else []))
    assert r.returncode == EX_CONFIG
    lines = i.conf.read_text().splitlines()
    n = next(k for k, x in enumerate(lines, 1) if x.startswith('mynetwork '))
    assert f'{i.conf}:{n}: unknown setting "mynetwork" (did you mean mynetworks?)' in r.stderr
    assert f'{i.conf}:{n + 1}: smtpd_timeout' in r.stderr
    assert not i.spool.exists()


def test_a_map_of_an_unknown_type_stops_the_start_with_its_line(make):
    """What an administrator of another MTA writes first."""
    i = make()
    i.write_conf(alias_maps='hash:/etc/aliases')
    for r in (i.veredus('start'), i.veredus('check'), i.tool('mailq')):
        assert r.returncode == EX_CONFIG
        n = i.conf.read_text().splitlines().index('alias_maps = hash:/etc/aliases') + 1
        assert f'{i.conf}:{n}: alias_maps: "hash:/etc/aliases" is of no known type' in r.stderr, r.stderr
        assert 'cdb' in r.stderr


def test_a_map_that_cannot_be_opened_stops_the_start_in_plain_words(make):
    i = make()
    i.write_conf(transport_maps='file:/nonexistent/a', relocated_maps='file:/nonexistent/b')
    r = i.veredus('start')
    assert r.returncode == EX_CONFIG
    assert re.search(r'_maps: /nonexistent/[ab]: No such file or directory\n', r.stderr), r.stderr
    assert '\\x0a' not in r.stderr + i.log(), r.stderr + i.log()
    for which in ('transport_maps: /nonexistent/a', 'relocated_maps: /nonexistent/b'):
        assert f'{which}: No such file or directory\n' in i.log()


def test_no_such_file(make):
    i = make()
    i.conf.unlink()
    r = i.veredus('start')
    assert r.returncode == EX_CONFIG and str(i.conf) in r.stderr


def test_port_in_use_is_said(make):
    i = make()
    with socket.socket() as s:
        s.bind(('127.0.0.1', i.port))
        s.listen()
        r = i.veredus('start')
        assert r.returncode == EX_UNAVAILABLE
        assert f'cannot listen on 127.0.0.1:{i.port}: another program listens there' in r.stderr
        r = i.veredus('check')
        assert r.returncode == EX_CONFIG and str(i.port) in r.stdout
    assert i.veredus('start').returncode == 0
    assert i.veredus('stop').returncode == 0


def test_a_program_that_cannot_start_stops_the_start(make):
    """The map is missing: cleanup says so, and so does the tool."""
    i = make()
    i.write_conf(virtual_alias_maps=f'cdb:{i.dir}/missing')
    r = i.veredus('start')
    assert r.returncode == EX_CONFIG
    assert 'cleanup does not start' in r.stderr and 'missing' in r.stderr, r.stderr
    assert i.veredus('status').returncode == EX_UNAVAILABLE


def test_a_missing_program_stops_the_start(make):
    i = make()
    programs = i.dir / 'programs'
    shutil.copytree(PREFIX / 'libexec' / 'veredus', programs)
    (programs / 'qmgr').unlink()
    i.write_conf(daemon_directory=programs)
    r = i.veredus('start')
    assert r.returncode == EX_CONFIG and f'{programs}/qmgr: No such file' in r.stderr, r.stderr
    assert i.veredus('status').returncode == EX_UNAVAILABLE
    r = i.veredus('check')
    assert r.returncode == EX_CONFIG and f'{programs}/qmgr' in r.stdout


def test_a_program_that_does_not_stop_is_killed(make):
    i = make(stop_timeout='2s', watchdog_timeout='60s').start()
    os.kill(i.pid('qmgr'), signal.SIGSTOP)
    i.stop()  # exit code 0, nothing left
    assert re.search(r'qmgr\[\d+\] died: signal 9', i.log())


def test_ctrl_c_twice_kills_at_once(make):
    i = make(stop_timeout='600s', watchdog_timeout='600s').start()
    pids = i.pids()
    os.kill(i.pid('qmgr'), signal.SIGSTOP)
    i.proc.send_signal(signal.SIGINT)
    i.wait_log('stopping')
    i.proc.send_signal(signal.SIGINT)
    assert i.proc.wait(20) == 0
    i.proc = None
    wait_until(lambda: not any(map(alive, pids)), 'all have ended')


def test_stop_works_with_a_broken_file(make):
    i = make()
    assert i.veredus('start').returncode == 0
    i.write_conf(nonsense='yes')
    assert i.veredus('reload').returncode == EX_CONFIG
    r = i.veredus('stop')
    assert r.returncode == 0 and 'nonsense' in r.stderr, r.stderr


def test_modes_of_directories_and_sockets(mta):
    def mode(p):
        return stat.S_IMODE(os.stat(p).st_mode)
    assert mode(mta.spool / 'drop') == 0o3733
    assert mode(mta.spool / 'queue') == 0o700
    assert mode(mta.run / 'admin') == 0o750
    assert mode(mta.run / 'public') == 0o755
    assert mode(mta.run / 'public' / 'submit') == 0o666
    assert mode(mta.run / 'admin' / 'master') == 0o660
    if ROOT:
        owners = {d: os.stat(mta.spool / d).st_uid for d in ('.', 'queue', 'drop', 'empty')}
        assert owners['queue'] == owners['drop'] == next(
            x['uid'] for x in rows(mta) if x['program'] == 'cleanup') != 0
        assert owners['.'] == owners['empty'] == 0


@pytest.mark.skipif(not ROOT, reason='needs a second user')
def test_others_may_not_ask_master(mta):
    for verb in ('status', 'reload', 'stop'):
        r = mta.veredus(verb, user=FIRST_UID)
        assert r.returncode == EX_NOPERM, r.stderr
    assert mta.is_up()


# -- death and restart ---------------------------------------------------------

@pytest.mark.parametrize('program', PROGRAMS)
def test_a_killed_program_is_named_and_started_again(mta, program):
    pid = mta.kill(program)
    mta.wait_log(rf'error: {program}\[{pid}\] died: signal 9 \(Killed\)')
    wait_until(lambda: all(x['state'] == 'up' for x in rows(mta)), 'all are up')
    assert {x['program']: x['restarts'] for x in rows(mta)}[program] == 1
    mta.send('ann@mx.veredus.test')
    mta.mail('ann')


def test_two_programs_killed_at_once(mta):
    pids = [mta.pid('cleanup'), mta.pid('qmgr'), mta.pid('local')]
    for p in pids:
        os.kill(p, signal.SIGKILL)
    wait_until(lambda: all(x['state'] == 'up' and x['pid'] not in pids for x in rows(mta)), 'all are up')
    mta.send('ann@mx.veredus.test')
    mta.mail('ann')


def test_a_program_that_dies_again_and_again_is_given_time(mta):
    killed = []
    for _ in range(4):
        pid = wait_until(lambda: next((x['pid'] for x in rows(mta) if x['program'] == 'users' and
                                       x['pid'] not in ('-', *killed)), None), 'users runs')
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    mta.wait_log(r'users is started again in 400 ms')
    wait_until(lambda: all(x['state'] == 'up' for x in rows(mta)), 'all are up')


# -- reload --------------------------------------------------------------------

def test_reload_changes_settings_and_nobody_restarts(mta):
    before = {x['program']: x['pid'] for x in rows(mta)}
    mta.write_conf(smtpd_banner='mx.veredus.test ESMTP second')
    reload(mta)
    wait_until(lambda: 'second' in greeting(mta.port), 'the new greeting')
    assert {x['program']: x['pid'] for x in rows(mta)} == before


def test_reload_with_a_bad_file_keeps_the_old(mta):
    mta.write_conf(smtpd_banner='mx.veredus.test ESMTP second', message_size_limit='big')
    r = mta.veredus('reload')
    assert r.returncode == EX_CONFIG and 'message_size_limit' in r.stderr + r.stdout
    mta.proc.send_signal(signal.SIGHUP)
    mta.wait_log(rf'error: reload: {mta.conf}:\d+: message_size_limit')
    mta.wait_log('the old settings stay in force')
    assert 'second' not in greeting(mta.port)
    mta.write_conf(message_size_limit='20M')
    mta.proc.send_signal(signal.SIGHUP)
    wait_until(lambda: 'second' in greeting(mta.port), 'the new greeting')


@pytest.mark.parametrize('name,value,words', (
    ('virtual_alias_maps', 'cdb:{dir}/missing', 'missing'),
    ('virtual_alias_maps', 'nosuch:thing', 'nosuch'),
    ('queue_directory', '{dir}/elsewhere', 'veredus stop'),
    ('listen', '127.0.0.1:{busy}', 'another program listens there'),
    ('log', 'file:{dir}/no/such/log', 'No such file'),
))
def test_reload_of_what_cannot_be_keeps_the_old(mta, name, value, words):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        mta.write_conf(smtpd_banner='mx.veredus.test ESMTP second',
                       **{name: value.format(dir=mta.dir, busy=s.getsockname()[1])})
        r = mta.veredus('reload')
    assert r.returncode == EX_CONFIG, r.stdout + r.stderr
    assert words in r.stdout, r.stdout
    assert 'the old settings stay in force' in r.stderr
    assert 'second' not in greeting(mta.port)
    mta.send('ann@mx.veredus.test')
    mta.mail('ann')


def test_reload_moves_the_listener_and_open_sessions_finish(mta):
    old = mta.port
    with Client(old) as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        c.send('Subject: slow\r\n\r\n')
        mta.port = free_port()
        mta.write_conf(listen=f'127.0.0.1:{mta.port}', smtpd_processes=2)
        reload(mta)
        wait_until(lambda: greeting(mta.port).startswith('220'), 'the new port answers')
        wait_until(lambda: refuses(old), 'the old port is closed')
        wait_until(lambda: len([x for x in rows(mta) if x['program'] == 'smtpd' and x['state'] == 'up']) == 2,
                   'two new workers')
        assert c.dot(b'end\r\n').code == 250
    mta.mail('ann')
    mta.send('ben@mx.veredus.test')
    mta.mail('ben')
    wait_until(lambda: [x['state'] for x in rows(mta) if x['program'] == 'smtpd'] == ['up', 'up'],
               'the old worker has ended')


def test_reload_with_maps_elsewhere_starts_cleanup_anew(mta):
    place = mta.dir / 'maps'
    place.mkdir()
    os.chmod(place, 0o755)
    (place / 'virtual').write_text('info@mx.veredus.test ben\n')
    pid = mta.pid('cleanup')
    mta.write_conf(virtual_alias_maps=f'file:{place}/virtual')
    reload(mta)
    wait_until(lambda: mta.pid('cleanup') not in (None, pid), 'cleanup is another')

    def accepted():
        try:
            return mta.send('info@mx.veredus.test')
        except AssertionError:  # 451 while cleanup starts
            return None
    wait_until(accepted, 'the new map is in force')
    mta.mail('ben')
    assert 'died' not in mta.log()


def test_log_file_is_opened_anew_by_reload(mta):
    mta.log_path.rename(mta.dir / 'log.1')
    reload(mta)
    mta.wait_log('reloaded')
    mta.send('ann@mx.veredus.test')
    mta.wait_log('status=sent')


# -- the service manager --------------------------------------------------------

def test_sd_notify(make):
    i = make()
    path = str(i.dir / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(30)
        os.environ['NOTIFY_SOCKET'] = path
        try:
            i.start()
        finally:
            del os.environ['NOTIFY_SOCKET']
        assert s.recv(1000).startswith(b'READY=1')
        i.proc.send_signal(signal.SIGHUP)
        assert re.match(rb'RELOADING=1\nMONOTONIC_USEC=\d+', s.recv(1000))
        assert s.recv(1000).startswith(b'READY=1')
        if ROOT:
            for x in rows(i)[1:]:
                assert b'NOTIFY_SOCKET' not in open(f'/proc/{x["pid"]}/environ', 'rb').read()
        i.stop()
        assert s.recv(1000).startswith(b'STOPPING=1')


# -- check and config ------------------------------------------------------------

def test_check_good_and_bad(make):
    i = make()
    r = i.veredus('check')
    assert r.returncode == 0, r.stdout + r.stderr
    assert 'ok: ' in i.veredus('check', '-v').stdout
    i.write_conf(mynetworks='0.0.0.0/0', alias_maps=f'cdb:{i.dir}/missing')
    r = i.veredus('check')
    assert r.returncode == EX_CONFIG
    assert 'mynetworks has 0.0.0.0/0: anyone' in r.stdout
    assert re.search(r'error: alias_maps: .*missing.*: cleanup does not start', r.stdout)
    assert r.stdout.splitlines()[-1].startswith('2 errors')


def test_check_says_that_the_log_cannot_be_opened(make):
    """What a start would stumble over."""
    i = make()
    for path, why in ((i.dir / 'missing' / 'log', 'No such file or directory'), (i.dir, 'Is a directory'),
                      (i.conf / 'log', 'Not a directory')):
        i.write_conf(log=f'file:{path}')
        r = i.veredus('check')
        assert r.returncode == EX_CONFIG
        assert f'error: log = file:{path}: {why}: it does not start' in r.stdout.splitlines()
        with pytest.raises(AssertionError, match=f'log = file:{path}: {why}'):
            i.start()
        i.proc = None
    i.write_conf(log=f'file:{i.dir}/new')
    assert i.veredus('check').returncode == 0 and not (i.dir / 'new').exists(), 'it changes nothing'


def test_check_says_where_nobody_listens(make):
    i = make(listen='127.0.0.1:1, [::1]:1', inet_protocols='ipv4')
    assert re.search(r'warning: nobody listens on \[::1\]:1 of listen: ', i.veredus('check').stdout)
    i.write_conf(listen=f'127.0.0.1:{i.port}', inet_protocols='ipv6')
    out = i.veredus('check').stdout
    assert f'warning: nobody listens on 127.0.0.1:{i.port} of listen: inet_protocols ' in out
    assert 'listen is empty' not in out
    i.write_conf(listen='', inet_protocols='ipv4')
    assert 'warning: listen is empty' in i.veredus('check').stdout


def test_check_warns_of_a_luser_relay_that_gets_nothing(make):
    i = make(luser_relay='ann')
    r = i.veredus('check')
    assert r.returncode == 0 and 'luser_relay gets nothing' in r.stdout, r.stdout
    i.write_conf(local_recipient_maps='')
    assert 'luser_relay' not in i.veredus('check').stdout


def test_check_looks_at_the_account_database(make):
    i = make()
    text = i.passwd.read_text()
    i.passwd.write_text(text + 'typo:x:12\nann2:x:61002:61002::nowhere:/bin/sh\n')
    n = len(text.splitlines())
    r = i.veredus('check')
    assert r.returncode == 0, r.stdout
    assert f'warning: {i.passwd}:{n + 1}: ' in r.stdout and f'warning: {i.passwd}:{n + 2}: ' in r.stdout, r.stdout
    i.passwd.unlink()
    r = i.veredus('check')
    assert r.returncode == EX_CONFIG
    assert f'error: local_users: {i.passwd}: No such file or directory' in r.stdout, r.stdout



@pytest.mark.skipif(not ROOT, reason='needs root')
def test_check_tells_what_root_must_not_overlook(make):
    i = make(queue_user='_vsmtpd', log_user='nosuchaccount')
    os.chmod(i.conf, 0o666)
    r = i.veredus('check')
    assert r.returncode == EX_CONFIG
    assert 'can be changed by others' in r.stdout
    assert 'log_user: there is no account "nosuchaccount"' in r.stdout
    r = i.veredus('start')
    assert r.returncode == EX_CONFIG and 'log_user' in r.stderr
    i.write_conf(log_user='_vlog')
    assert '_vsmtpd and _vsmtpd are one account' in i.veredus('check').stdout


def test_signals_of_others_mean_nothing(make):
    i = make().start()
    master = rows(i)[0]['pid']
    for sig in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        os.kill(master, sig)
        wait_until(lambda: f'signal {int(sig)} means nothing' in i.log(), 'it is said')
    assert rows(i)[0]['pid'] == master


def test_config(make):
    i = make()
    r = i.veredus('config', 'myhostname', 'smtpd_timeout')
    assert r.stdout == 'myhostname = mx.veredus.test\nsmtpd_timeout = 5m\n'
    r = i.veredus('config', '-n')
    assert 'myhostname = mx.veredus.test\n' in r.stdout and 'smtpd_timeout' not in r.stdout
    r = i.veredus('config', 'smtpd_timeouts')
    assert r.returncode == EX_USAGE and 'did you mean smtpd_timeout?' in r.stderr
    every = [json.loads(x) for x in i.veredus('config', '-j').stdout.splitlines()]
    assert len(every) > 60 and all(x['meaning'] for x in every)
    row = next(x for x in every if x['name'] == 'myhostname')
    assert row['is_default'] == 0 and row['line'] == 1 and row['value'] == 'mx.veredus.test'
    # What it prints is a settings file that means the same.
    text = i.veredus('config', '-v').stdout
    i.conf.write_text(text)
    again = [json.loads(x) for x in i.veredus('config', '-j').stdout.splitlines()]
    assert [x['value'] for x in again] == [x['value'] for x in every]


@pytest.mark.parametrize('args', ((), ('nosuch',), ('status', 'extra'), ('start', '-x'), ('-x',)))
def test_bad_calls(make, args):
    r = make().veredus(*args)
    assert r.returncode == EX_USAGE and r.stderr
