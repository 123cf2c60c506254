#!/usr/bin/python3
"""costs.py - where a message's CPU goes, by program and by system call.

  costs.py --prefix DIR --peers DIR [-m MESSAGES] [-n ROWS] [WORKLOAD...]

Each workload runs twice with Veredus alone: under perf (cpu-clock, sampled in its
cgroup), which gives microseconds a message, and under strace, which gives calls a
message.  What is said is for reading, not for comparing: use bench.py for that.
"""
import argparse
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from targets import Veredus, die, harness
from workloads import WORKLOADS, traced

# In the kernel without a system call; the outermost of these names it.
ENTRIES = {'asm_exc_page_fault': 'page fault', 'ret_from_fork_asm': 'start of a thread',
           'asm_sysvec_apic_timer_interrupt': 'timer interrupt', 'asm_common_interrupt': 'interrupt'}


def where(stack, in_kernel):
    """What a sample's stack, innermost first, was busy with."""
    for name in reversed(stack):
        if name.startswith('__x64_sys_'):
            return name[len('__x64_sys_'):]
        if name in ENTRIES:
            return ENTRIES[name]
    return 'other, kernel' if in_kernel else 'own code'


def samples(text):
    """Counter of (program, what) in `perf script' output."""
    found = Counter()
    for block in text.split('\n\n'):
        lines = block.strip('\n').splitlines()
        if not lines or not (m := re.match(r'(\S.*?)\s+\d+(/\d+)?\s+\[?\d', lines[0])):
            continue
        frames = [x.split(None, 1)[1] for x in lines[1:] if len(x.split(None, 1)) == 2]
        stack = [re.split(r'\+0x| \(', f)[0] for f in frames]
        found[m[1], where(stack, bool(frames) and '[kernel' in frames[0])] += 1
    return found


def recorded(t, run):
    """(result of run(), samples) with perf looking on."""
    with tempfile.NamedTemporaryFile() as data:
        p = subprocess.Popen(['perf', 'record', '-q', '-e', 'cpu-clock', '-F', '4999', '-g', '-a', '-G',
                              t.cgroup.dir.name, '-o', data.name], stderr=subprocess.DEVNULL)
        time.sleep(1)       # it says nowhere that it has begun
        if p.poll() is not None:
            die('perf does not run here')
        try:
            r = run()
        finally:
            p.send_signal(signal.SIGINT)
            p.wait()
        return r, samples(subprocess.run(['perf', 'script', '-i', data.name], capture_output=True, text=True).stdout)


def counted(t, run):
    """(result of run(), Counter of (program, call)) with a strace at each process."""
    pids, calls = t.cgroup.pids(), Counter()
    outs = [(harness.Instance.comm(p), tempfile.NamedTemporaryFile('r'), p) for p in pids]
    tracers = [subprocess.Popen(['strace', '-f', '-c', '-U', 'calls,name', '-o', f.name, '-p', str(p)],
                                stderr=subprocess.DEVNULL) for _, f, p in outs]
    try:
        for tracer, p in zip(tracers, pids):
            traced(tracer, [p])
        r = run()
    finally:
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
    for comm, f, _ in outs:
        for m in re.finditer(r'^\s*(\d+)\s+(\w+)$', f.read(), re.M):
            if m[2] != 'total':
                calls[comm, m[2]] += int(m[1])
    return r, calls


def by_program(found):
    total = Counter()
    for (comm, _), n in found.items():
        total[comm] += n
    return total


def show(name, messages, r, cpu, calls, rows):
    us = r['cpu_ms_per_message'] * 1000
    n = max(1, cpu.total())
    print(f'\n{name}: {us:.0f} us of CPU and {calls.total() / messages:.1f} system calls a message')
    print('  by program: ' + ', '.join(f'{c} {k * us / n:.0f} us, {by_program(calls)[c] / messages:.1f} calls'
                                       for c, k in by_program(cpu).most_common(8)))
    for (comm, what), k in cpu.most_common(rows):
        print(f'  {k * us / n:7.1f} us {100 * k / n:5.1f} %  {comm:12} {what:20} '
              f'{calls[comm, what] / messages:6.2f} calls')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--prefix', type=Path, required=True)
    p.add_argument('--peers', type=Path, required=True, help="where Postfix's root is, for its load tools")
    p.add_argument('-m', '--messages', type=int, default=4000)
    p.add_argument('-n', '--rows', type=int, default=20)
    p.add_argument('workload', nargs='*', default=['local-20-kept', 'relay-20-kept', 'relay-1-kept'])
    a = p.parse_args()
    with tempfile.TemporaryDirectory(prefix='profile', dir=a.peers) as tmp:
        Path(tmp).chmod(0o755)
        t = Veredus(a.prefix.resolve(), Path(tmp).resolve())
        t.load_root = a.peers.resolve() / 'postfix'
        for name in a.workload:
            w, seen = WORKLOADS[name], []
            messages = max(1, round(a.messages * w.scale))
            for look in (recorded, counted):
                t.start(**w.needs)
                try:
                    seen.append(look(t, lambda: w.run(t, messages, w.sessions, w.kept)))
                finally:
                    t.stop()
                if seen[-1][0]['wrong']:
                    die(f'{name}: {seen[-1][0]["wrong"]}')
            show(name, messages if '1000' not in name else 1000, seen[0][0], seen[0][1], seen[1][1], a.rows)


if __name__ == '__main__':
    main()
