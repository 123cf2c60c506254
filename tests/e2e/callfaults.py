"""Faults in the system calls of running programs, by strace: calls fail as the
kernel's would, without having been made."""
import re
import shutil
import signal
import subprocess

import pytest

from harness import ROOT, wait_until

INJECTED = re.compile(r'^\d+ +(?:<\.\.\. )?(\w+)\b.*\(INJECTED', re.M)


def tracer_or_skip():
    """Skips, and says why, where nobody can trace the programs."""
    if not ROOT:
        pytest.skip('the programs are not dumpable: only root may trace them')
    if shutil.which('strace') is None:
        pytest.skip('no strace')
    r = subprocess.run(['strace', '-qq', '-e', 'trace=none', 'true'], capture_output=True, text=True)
    if r.returncode:
        pytest.skip(f'strace cannot trace here: {r.stderr.strip()[-200:]}')


def tracer_of(pid):
    try:
        text = open(f'/proc/{pid}/status').read()
    except OSError:
        return None
    return int(re.search(r'^TracerPid:\s*(\d+)', text, re.M).group(1))


class Faults:
    """with Faults(m, 'smtpd', 'accept4:error=EMFILE:when=2+') as f: ...

    Each rule is what stands behind strace's "inject="; it counts each of the
    program's processes and threads on its own.  `pids': of that program, by default
    all of its name.  Afterwards f.count has how many of each call failed; the
    program may have died of it."""

    def __init__(self, m, program, *rules, pids=None):
        self.m, self.program, self.rules = m, program, rules
        self.pids = pids or wait_until(lambda: [p for p in m.pids() if m.comm(p) == program], f'{program} runs')
        self.out = m.dir / f'faults.{program}'
        self.count = {}

    def __enter__(self):
        calls = ','.join(r.split(':')[0] for r in self.rules)
        cmd = ['strace', '-f', '-qq', '-o', str(self.out), '-e', f'trace={calls}', '-e', 'signal=none']
        for r in self.rules:
            cmd += ['-e', f'inject={r}']
        for p in self.pids:
            cmd += ['-p', str(p)]
        self.proc = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                     text=True)
        wait_until(lambda: self.proc.poll() is not None or all(tracer_of(p) != 0 for p in self.pids),
                   f'{self.program} is traced')
        return self

    def so_far(self):
        """Calls that failed until now."""
        return len(INJECTED.findall(self.out.read_text(errors='replace'))) if self.out.exists() else 0

    def __exit__(self, *why):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)        # lets go of all
        said = self.proc.communicate(timeout=30)[1]
        assert why[0] or 'nvalid' not in said, said
        for call in INJECTED.findall(self.out.read_text(errors='replace')):
            self.count[call] = self.count.get(call, 0) + 1
