#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks at the machine code of the kernels.

  check_objects.py spills OBJDUMP FILE...      K loops (innermost loops that multiply) keep their accumulators in registers
  check_objects.py baseline OBJDUMP FILE...    no VEX or EVEX instruction outside *_avx*.o: those objects run on every CPU
  check_objects.py ymm OBJDUMP FILE...         *_avx2.o and *_avxvnni.o have no EVEX instruction and, but for the latter,
                                               no dot product; *_avx512vl.o has them in EVEX, on ymm

FILE is an object or an archive.
"""
import os
import re
import subprocess
import sys

LINE = re.compile(r'^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$')
SYMBOL = re.compile(r'^[0-9a-f]+ <(.+)>:$')
SPILL = re.compile(r'[yz]mm\d+.*\(%r[sb]p|\(%r[sb]p[^)]*\).*[yz]mm\d+')
MULTIPLY = ('vpdpbusd', 'vpmaddwd', 'vfmadd')  # what their names begin with
RAW = re.compile(r'^\s*[0-9a-f]+:\t([0-9a-f ]+?)\s*\t(.*)$')
MEMBER = re.compile(r'^(\S+):\s+file format')
SKIPPED = 77


def functions(objdump, path):
    """("object: function", [(address, mnemonic, operands)]) of each function."""
    text = subprocess.run([objdump, '-d', '--no-show-raw-insn', path], check=True, capture_output=True, text=True).stdout
    member, name, body = path, None, []
    for line in text.splitlines():
        found = MEMBER.match(line)
        if found:
            if body:
                yield name, body
            member, body = os.path.basename(found.group(1)), []
            continue
        symbol = SYMBOL.match(line)
        if symbol:
            if body:
                yield name, body
            name, body = f'{member}: {symbol.group(1)}', []
            continue
        found = LINE.match(line.replace('{vex} ', '').replace('{evex} ', ''))
        if found:
            body.append((int(found.group(1), 16), found.group(2), found.group(3)))
    if body:
        yield name, body


def k_loops(body):
    """Innermost loops with products."""
    at = {address: i for i, (address, _, _) in enumerate(body)}
    loops = []
    for i, (address, mnemonic, operands) in enumerate(body):
        target = re.match(r'([0-9a-f]+)\b', operands)
        if mnemonic.startswith('j') and target and int(target.group(1), 16) <= address:
            start = at.get(int(target.group(1), 16))
            if start is not None and any(m.startswith(MULTIPLY) for _, m, _ in body[start:i]):
                loops.append((start, i))
    return [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]


def spills(objdump, paths):
    n_loops = bad = 0
    for path in paths:
        for name, body in functions(objdump, path):
            for start, end in k_loops(body):
                n_loops += 1
                loop = body[start:end]
                n_mul = sum(m.startswith(MULTIPLY) for _, m, _ in loop)
                stack = [f'{m} {o}' for _, m, o in loop if SPILL.search(o)]
                if stack:
                    bad += 1
                    print(f'{name}: loop at {body[start][0]:x} ({n_mul} products) has {len(stack)} spills: {stack[0]}')
    print(f'{n_loops} K loops, {bad} with spills')
    return 1 if bad or n_loops == 0 else 0


def baseline(objdump, paths):
    bad = n = 0
    for path in paths:
        for name, body in functions(objdump, path):
            if '_avx' in name.split(':')[0]:
                continue
            for address, mnemonic, operands in body:
                n += 1
                # VEX and EVEX instructions of vectors and masks have names in v and k; verr, verw are not among them.
                if re.match(r'v(?!err|erw)|k(mov|and|or|not|xor|xnor|unpck|add|test|shift)', mnemonic):
                    bad += 1
                    print(f'{name} at {address:x}: {mnemonic} {operands}')
    print(f'{n} instructions, {bad} beyond the baseline')
    return 1 if bad or n == 0 else 0


def ymm(objdump, paths):
    """Of each object of a level on ymm registers: what its instructions are encoded in."""
    bad = n = 0
    for path in paths:
        text = subprocess.run([objdump, '-dw', path], check=True, capture_output=True, text=True).stdout
        member, dots = path, {}
        for line in text.splitlines():
            found = MEMBER.match(line)
            if found:
                member = os.path.basename(found.group(1))
            found = RAW.match(line)
            level = re.search(r'_(avx128|avx2|avxvnni|avx512vl)\.', member)
            if not found or not level:
                continue
            n += 1
            level, evex, text_of = level.group(1), found.group(1).startswith('62'), found.group(2)
            dot = 'vpdpbusd' in text_of
            if dot:
                dots[member] = dots.get(member, 0) + 1
            allowed = {'avx128': not evex and not dot, 'avx2': not evex and not dot, 'avxvnni': not evex,
                       'avx512vl': not dot or (evex and 'zmm' not in text_of)}[level]
            if not allowed:
                bad += 1
                print(f'{member}: {text_of}')
        print(f'{os.path.basename(path)}: dot products {dots}')
        if re.search('avxvnni|avx512vl', path) and not dots:
            bad += 1
    print(f'{n} instructions, {bad} of a higher level')
    return 1 if bad or n == 0 else 0


def main():
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    mode, objdump, paths = sys.argv[1], sys.argv[2], [p for p in sys.argv[3:] if os.path.isfile(p)]
    if not os.path.isfile(objdump):
        print('SKIP: no objdump')
        return SKIPPED
    return {'spills': spills, 'baseline': baseline, 'ymm': ymm}[mode](objdump, paths)


if __name__ == '__main__':
    sys.exit(main())
