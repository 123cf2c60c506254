"""The manuals against the programs."""
import json
import re
import subprocess

import pytest

from harness import PREFIX, PROGRAMS, SRC, tool

PAGES = sorted(p for p in (SRC / 'man').iterdir() if re.fullmatch(r'\.\d', p.suffix))
OTHERS = {'tar', 'passwd', 'nsswitch.conf', 'logrotate', 'resolv.conf', 'fcntl'}


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_mandoc_finds_nothing(page):
    """But for other pages, which need not be installed where this runs."""
    r = subprocess.run(['mandoc', '-T', 'lint', page], capture_output=True, text=True)
    said = [x for x in (r.stdout + r.stderr).splitlines()
            if 'referenced manual not found' not in x and 'outdated mandoc.db' not in x]
    assert said == []
    ours = {p.name for p in PAGES}
    for name, section in re.findall(r'^\.Xr (\S+) (\d)', page.read_text(), re.M):
        assert f'{name}.{section}' in ours or name in OTHERS, f'{name}({section}) is no page of ours'


def test_every_program_has_its_page():
    ours = {p.name for p in PAGES}
    assert not [p for p in {*PROGRAMS, 'master', 'veredus', 'sendmail'} if f'{p}.8' not in ours]
    assert {'mailq.1', 'newaliases.1'} <= ours
    assert all((PREFIX / 'share' / 'man' / f'man{p[-1]}' / p).exists() for p in ours), 'all are installed'


def test_every_verb_stands_in_the_manual():
    """As `veredus -h' lists them, with each of its letters."""
    text = (SRC / 'man' / 'veredus.8').read_text()
    said = subprocess.run([tool('veredus'), '-h'], capture_output=True, text=True).stdout
    verbs = re.findall(r'^  (\w+) +(.*)', said, re.M)
    assert len(verbs) >= 16
    for verb, usage in verbs:
        lines = re.findall(rf'^\.It Cm {verb}\b.*', text, re.M)
        assert lines, verb
        for letter in ''.join(re.findall(r'(?<![\w-])-(\w+)(?=[] ])', usage)):
            assert any(re.search(rf'Fl (\w \| )*\w*{letter}', x) for x in lines), (verb, letter)


def test_every_setting_stands_in_the_manual(make):
    """With the default that it has; defaults that the build chooses are named otherwise."""
    text = (SRC / 'man' / 'veredus.conf.5').read_text()
    manual = dict(re.findall(r'^\.It Va (\S+) Bq (.+)$', text, re.M))
    rows = {r['name']: r['default'] for r in
            map(json.loads, make().veredus('config', '-j').stdout.splitlines())}
    assert manual.keys() == rows.keys(), manual.keys() ^ rows.keys()
    assert len(re.findall(r'^\.It Va ', text, re.M)) == len(rows)
    for name, default in rows.items():
        if default == '':
            assert manual[name] in ('none', "the system's name", 'myhostname without its first label',
                                    'the addresses of listen', 'those of dns_resolv_conf'), name
        elif not re.match(r'(cdb:)?/(?!var/mail|etc/(resolv|hosts))', default):
            assert manual[name] == default, name
