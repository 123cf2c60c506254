#!/usr/bin/env python3
"""run.py SRCDIR BUILDDIR [NAME...] - plant faults, one at a time, and see that a
test turns red for each.

tests/mutants/mutants.list holds paragraphs:

    name: no directory fsync
    file: common/spool_commit.c
    old:  a piece of one line that stands exactly once in the file
    new:  what stands there instead (may be empty)
    test: tests/unit/test_spool_crash [tests/unit/...]

Several old/new pairs may follow one another.  A copy of the sources is made
below BUILDDIR/mutants and built there once; each mutant then rebuilds what has
changed and runs just its tests, first of all without any mutant.  A mutant that
does not compile is a failure, too.  NAME...: only mutants whose name contains
one of them.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 600
SKIP = {'.git', 'build', 'autom4te.cache', 'asan', '__pycache__'}


class Bad(Exception):
    pass


def read_list(path):
    out, cur = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            if not line.strip():
                cur = None
            continue
        key, colon, value = line.partition(':')
        value = value.strip()
        if not colon or key not in ('name', 'file', 'old', 'new', 'test'):
            raise Bad(f'{path}:{number}: what is this?')
        if key == 'name':
            cur = {'name': value, 'edits': [], 'line': number}
            out.append(cur)
        elif cur is None:
            raise Bad(f'{path}:{number}: no name above')
        elif key == 'file':
            cur['now'] = value
        elif key == 'old':
            cur['edits'].append([cur['now'], value, None])
        elif key == 'new':
            cur['edits'][-1][2] = value
        else:
            cur['tests'] = value.split()
    for m in out:
        if not m['edits'] or 'tests' not in m or \
                any(e[2] is None for e in m['edits']):
            raise Bad(f"{path}:{m['line']}: {m['name']}: incomplete")
    return out


def copy_tree(src, dst):
    """Only what differs, so that a second run builds little."""
    seen = set()
    for top, dirs, files in os.walk(src):
        here = Path(top).relative_to(src)
        dirs[:] = [d for d in dirs if d not in SKIP
                   and not (Path(top) / d / 'config.status').exists()]
        (dst / here).mkdir(parents=True, exist_ok=True)
        for f in files:
            a, b = Path(top) / f, dst / here / f
            seen.add(b)
            if a.is_symlink() or not a.is_file():
                continue
            if not b.exists() or a.read_bytes() != b.read_bytes():
                shutil.copy2(a, b)
                os.utime(b)
    for top, _dirs, files in os.walk(dst):
        for f in files:
            if Path(top) / f not in seen:
                (Path(top) / f).unlink()


def run(cmd, cwd, env=None):
    """(exit code, output); a test that hangs is None."""
    p = subprocess.Popen(cmd, cwd=cwd, env=env, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=TIMEOUT)
        return p.returncode, out.decode(errors='replace')
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, 9)
        p.communicate()
        return None, 'timeout'


def planted(src, mutant):
    """{path: its text with the fault}; Bad when the fault does not fit."""
    texts = {}
    for name, old, new in mutant['edits']:
        path = src / name
        text = texts.get(path) or path.read_text()
        if text.count(old) != 1:
            raise Bad(f'{name}: stands {text.count(old)} times: {old}')
        texts[path] = text.replace(old, new)
    return texts


class Bench:
    def __init__(self, src, build):
        self.src, self.build = build / 'mutants' / 'src', build / 'mutants' / 'build'
        copy_tree(src, self.src)
        self.build.mkdir(parents=True, exist_ok=True)
        if not (self.build / 'config.status').exists():
            self.must([str(self.src / 'configure'), '-q', 'CFLAGS=-g -O1'])
        self.env = dict(os.environ, VEREDUS_SRCDIR=str(self.src),
                        VEREDUS_FAIL_FAST='1')

    def must(self, cmd):
        code, out = run(cmd, self.build)
        if code != 0:
            raise Bad(f"{' '.join(cmd)} failed:\n{out[-3000:]}")

    def make(self, tests):
        self.must(['make', '-s', '-j2', 'WARN_CFLAGS=-w'] + tests)

    def red(self, tests):
        """The first test that fails, or None.  What it leaves behind goes."""
        where = '/dev/shm' if os.access('/dev/shm', os.W_OK) else self.build
        for t in tests:
            with tempfile.TemporaryDirectory(prefix='mutant.', dir=where) as tmp:
                code, _out = run(['./' + t], self.build, dict(self.env, TMPDIR=tmp))
            if code != 0:
                return t if code is not None else t + ' (hung)'
        return None

    def plant(self, mutant):
        texts = planted(self.src, mutant)
        kept = {path: path.read_text() for path in texts}
        self.restore(texts)
        return kept

    @staticmethod
    def restore(kept):
        for path, text in kept.items():
            path.write_text(text)


def try_mutant(bench, mutant):
    kept = bench.plant(mutant)
    try:
        bench.make(mutant['tests'])
        return bench.red(mutant['tests'])
    finally:
        bench.restore(kept)


def main():
    src, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    wanted = sys.argv[3:]
    mutants = [m for m in read_list(src / 'tests/mutants/mutants.list')
               if not wanted or any(w in m['name'] for w in wanted)]
    bench = Bench(src, build)
    tests = sorted({t for m in mutants for t in m['tests']})
    bench.make(tests)
    for t in tests:
        if bench.red([t]):
            raise Bad(f'{t} fails without any mutant')
    caught = 0
    for m in mutants:
        try:
            by = try_mutant(bench, m)
        except Bad as e:
            print(f"ERROR  {m['name']}: {e}", flush=True)
            continue
        caught += by is not None
        print(f"{'caught' if by else 'MISSED'} {m['name']}: "
              f"{by or ' '.join(m['tests'])}", flush=True)
    print(f'{len(mutants)} mutants, {caught} caught')
    return 0 if caught == len(mutants) else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except Bad as e:
        print(f'mutants: {e}', file=sys.stderr)
        sys.exit(2)
