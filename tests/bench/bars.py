"""The bars: what each workload has to reach beside Postfix, and the tables.

A ratio is taken inside a round, against the better of Postfix's default and tuned
configuration in that round; the median of the rounds counts.
"""
import os
import statistics
import sys
from collections import namedtuple

from workloads import WORKLOADS

# Workloads, figure, whether more is better, required, goal: as ratios to Postfix,
# or as they are (absolute; no goal).
Bar = namedtuple('Bar', 'what workloads figure more required goal absolute', defaults=(None, False))
LOADED = [f'{way}-{n}-{how}' for way in ('local', 'relay') for n in (20, 100) for how in ('new', 'kept')]
SINGLE = ['local-1-kept', 'relay-1-kept', 'local-1-new', 'relay-1-new']
BARS = (
    Bar('CPU a message', LOADED, 'cpu_ms_per_message', False, 1 / 6, 1 / 10),
    Bar('messages/s', [w for w in LOADED if w.endswith('new')], 'per_s', True, 4, 6),
    Bar('messages/s', [w for w in LOADED if w.endswith('kept')], 'per_s', True, 6, 10),
    Bar('time', SINGLE, 'delivered_s', False, 0.6, 0.4),
    Bar('CPU a message', SINGLE, 'cpu_ms_per_message', False, 1 / 4, 1 / 5),
    Bar('recipients/s', ['fan-1000', 'fanlocal-1000'], 'per_s', True, 3, 5),
    Bar('mailq: time', ['backlog'], 'mailq_s', False, 1 / 5, 1 / 10),
    Bar('drain: time', ['backlog'], 'drain_s', False, 1 / 3, 1 / 5),
    Bar('accepted/s', ['flush-1'], 'accepted_per_s', True, 1.5, 1.9),
    Bar('accepted/s', ['flush-32'], 'accepted_per_s', True, 2, 4),
    Bar('flushes a message', ['flush-32'], 'flushes_per_message', False, 0.1, absolute=True),
    Bar('memory of all', ['memory-100'], 'memory_mib', False, 1 / 4, 1 / 6),
    Bar('MiB of smtpd', ['idle-2000'], 'smtpd_pss_mib', False, 40, absolute=True),
    Bar('MiB of remote', ['out-1000'], 'remote_pss_mib', False, 40, absolute=True),
)
POSTFIX = ('postfix', 'postfix-tuned')
FAN_BAR = 1.0        # fan-1000: at least as fast as Exim

COLUMNS = (('cpu_ms_per_message', 'cpu ms/msg'), ('accepted_per_s', 'accepted/s'), ('per_s', 'msg/s'),
           ('delivered_s', 'seconds'), ('calls_per_message', 'calls/msg'), ('flushes_per_message', 'flush/msg'),
           ('mailq_s', 'mailq s'), ('drain_s', 'drain s'), ('memory_mib', 'all MiB'),
           ('smtpd_pss_mib', 'smtpd MiB'), ('remote_pss_mib', 'remote MiB'), ('kib_per_session', 'KiB/sess'))


def grouped(rows):
    """{workload: {target: {round: row}}}, of the rows whose figures mean something."""
    by = {}
    for r in rows:
        if not r['wrong']:
            by.setdefault(r['workload'], {}).setdefault(r['target'], {})[r['round']] = r
    return by


def median(rounds, key):
    v = [r[key] for r in rounds.values() if key in r]
    return statistics.median(v) if v else None


def ratio(targets, others, key, more):
    """Ours to the best of the others, or None.  A round counts only when all of
    the others that were measured at all are in it."""
    mine = targets.get('veredus', {})
    rivals = [targets[o] for o in others if o in targets]
    v = []
    for i, r in mine.items():
        if rivals and all(i in o for o in rivals) and key in r:
            best = (max if more else min)(o[i][key] for o in rivals)
            if best:
                v.append(r[key] / best)
    return statistics.median(v) if v else None


def bound_by(bar, targets):
    """In words, of a rate that was missed: when the machine would be full, and what
    the load tools do without us; they are the bound when they take more of the
    machine than we, or miss the bar themselves."""
    mine = targets.get('veredus', {})
    tools, cpu = median(mine, 'tools_cpu_ms_per_message'), median(mine, 'cpu_ms_per_message')
    if not tools or cpu is None:
        return ''
    cores = median(mine, 'cores') or os.cpu_count()
    rival = max(filter(None, (median(targets.get(o, {}), bar.figure) for o in POSTFIX)), default=None)
    alone = median(targets.get('tools', {}), bar.figure)
    said = (f'; smtp-source and smtp-sink took {tools:.3f} ms of CPU a message, we {cpu:.3f}: '
            f'{cores} cores are full at {cores * 1000 / (tools + cpu):.0f}/s')
    if alone and rival:
        said += f'; without us they reach {alone:.0f}/s, {alone / rival:.2f} of Postfix'
    if tools >= cpu or alone and rival and alone / rival < bar.required:
        said += ': they are the bound'
    return said


def verdicts(rows):
    """For each bar and workload that was measured: (bar, workload, figure, word)."""
    by = grouped(rows)
    for bar in BARS:
        for w in bar.workloads:
            targets = by.get(w, {})
            if bar.absolute:
                figure = median(targets.get('veredus', {}), bar.figure)
            else:
                figure = ratio(targets, POSTFIX, bar.figure, bar.more)
            if figure is None:
                continue

            def reached(limit):
                return limit is not None and (figure >= limit if bar.more else figure <= limit)
            yield bar, w, figure, 'goal' if reached(bar.goal) else 'reached' if reached(bar.required) else 'MISSED'


def number(v):
    return '' if v is None else format(v, '.3f' if v < 1 else '.2f' if v < 100 else '.0f')


def limit(bar, v):
    return '' if v is None else ('>= ' if bar.more else '<= ') + number(v)


def print_figures(by, out):
    print('\n| workload | target | rounds | ' + ' | '.join(c[1] for c in COLUMNS) + ' |', file=out)
    print('|---' * (3 + len(COLUMNS)) + '|', file=out)
    for w in filter(by.get, WORKLOADS):
        for name, rounds in by[w].items():
            print(f'| {w} | {name} | {len(rounds)} | '
                  + ' | '.join(number(median(rounds, c[0])) for c in COLUMNS) + ' |', file=out)


def summary(rows, out=sys.stdout):
    """Prints the medians and the bars; returns what was missed, in words."""
    by = grouped(rows)
    missed = [f'{r["workload"]} {r["target"]} round {r["round"]}: {r["wrong"]}' for r in rows if r['wrong']]
    print_figures(by, out)
    print('\n| workload | figure | required | goal | measured | |', file=out)
    print('|---|---|---|---|---|---|', file=out)
    for bar, w, figure, word in verdicts(rows):
        unit = '' if bar.absolute else ' of Postfix'
        print(f'| {w} | {bar.what}{unit} | {limit(bar, bar.required)} | {limit(bar, bar.goal)} | '
              f'{number(figure)} | {word} |', file=out)
        if word == 'MISSED':
            why = bound_by(bar, by[w]) if bar.figure == 'per_s' else ''
            missed.append(f'{w}: {bar.what}{unit}: {number(figure)}, not {limit(bar, bar.required)}{why}')
    exim = ratio(by.get('fan-1000', {}), ('exim',), 'per_s', True)
    if exim is not None:
        print(f'| fan-1000 | recipients/s of Exim | >= {FAN_BAR:.2f} | | {exim:.2f} | '
              f'{"reached" if exim >= FAN_BAR else "MISSED"} |', file=out)
        if exim < FAN_BAR:
            missed.append(f'fan-1000: {exim:.2f} times as fast as exim')
    print('\nratios: Veredus / the better of postfix and postfix-tuned, inside a round, median', file=out)
    for disk in sorted({(r.get('disk', '?'), r.get('flush_us', 0)) for r in rows}):
        print('disk: %s; a new file and its flush take %d us' % disk, file=out)
    for text in missed:
        print(f'MISSED: {text}', file=out)
    return missed
