#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden tests of the program: exact standard output, standard error and exit code.

    run.py EFFNET [--update] [CASE...]

A case is a file in cases/: lines starting with '%' prepare (shell), one line '$ COMMAND' runs, then come 'exit N', the
expected stdout after '--- stdout' and stderr after '--- stderr'. '@weights' skips a case when `effnet pull
efficientnet-lite0` has not been run. Commands run in an empty folder with an empty cache (for @weights one with those weights), where
$ROOT is the source tree. Milliseconds and rates come out as '#', the folder as TMP, the source tree as ROOT.
--update writes what came out: read the difference before committing it.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SKIPPED = 77


def parse(path):
    case = {"setup": [], "command": None, "weights": False, "exit": 0, "stdout": "", "stderr": "", "head": []}
    section = None
    for line in path.read_text().splitlines(keepends=True):
        if section is None:
            if line.startswith(("%", "$", "@", "#")):
                case["head"].append(line)
            if line.startswith("%"):
                case["setup"].append(line[1:].strip())
            elif line.startswith("$"):
                case["command"] = line[1:].strip()
            elif line.startswith("@weights"):
                case["weights"] = True
            elif line.startswith("exit "):
                case["exit"] = int(line.split()[1])
        if line in ("--- stdout\n", "--- stderr\n"):
            section = line.split()[1]
        elif section is not None:
            case[section] += line
    return case


def normalize(text, tmp):
    text = text.replace(str(tmp), "TMP").replace(str(ROOT), "ROOT")
    text = re.sub(r"\d+\.\d+ ms", "# ms", text)
    text = re.sub(r'(_ms": |images_per_s": )[0-9.]+', r"\1#", text)
    text = re.sub(r'"cpu": "[a-z0-9]+"', '"cpu": "#"', text)
    return re.sub(r"\d+\.\d+ images/s", "# images/s", text)


def run(case, effnet):
    with tempfile.TemporaryDirectory() as tmp:
        env = {
            "PATH": f"{effnet.parent}:{os.environ['PATH']}", "HOME": tmp, "ROOT": str(ROOT), "LC_ALL": "C",
            "EFFNET_CACHE": f"{tmp}/cache",
        }
        if case["weights"]:  # the float weights alone, whatever else the user's cache holds
            models = pathlib.Path(tmp, "cache", "models", "efficientnet-lite0")
            models.mkdir(parents=True)
            for weights in pathlib.Path(os.environ["WEIGHTS_CACHE"], "models", "efficientnet-lite0").glob("*.pth"):
                (models / weights.name).symlink_to(weights)
        env |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        work = pathlib.Path(tmp, "work")
        work.mkdir()
        for line in case["setup"]:
            subprocess.run(["sh", "-c", line], cwd=work, env=env, check=True)
        done = subprocess.run(["sh", "-c", case["command"]], cwd=work, env=env, capture_output=True, timeout=600,
                              stdin=subprocess.DEVNULL)
        return done.returncode, normalize(done.stdout.decode(), tmp), normalize(done.stderr.decode(), tmp)


def main(argv):
    update = "--update" in argv
    args = [a for a in argv if a != "--update"]
    effnet = pathlib.Path(args[0]).resolve()
    paths = [HERE / "cases" / name for name in args[1:]] or sorted((HERE / "cases").glob("*.test"))
    cache = os.environ.get("EFFNET_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "effnet")
    os.environ["WEIGHTS_CACHE"] = cache
    have_weights = pathlib.Path(cache, "models", "efficientnet-lite0").is_dir()
    failed = skipped = 0
    for path in paths:
        case = parse(path)
        if case["weights"] and not have_weights:
            print(f"skip {path.name}: run 'effnet pull efficientnet-lite0' first")
            skipped += 1
            continue
        code, out, err = run(case, effnet)
        if update:
            path.write_text("".join(case["head"]) + f"exit {code}\n--- stdout\n{out}--- stderr\n{err}")
            continue
        for what, wanted, got in (("exit code", case["exit"], code), ("stdout", case["stdout"], out),
                                  ("stderr", case["stderr"], err)):
            if wanted != got:
                print(f"FAIL {path.name}: {case['command']}\n  {what} should be:\n{wanted}\n  but is:\n{got}")
                failed += 1
    print(f"{len(paths) - skipped} cases, {failed} differences, {skipped} skipped")
    return 1 if failed else SKIPPED if skipped == len(paths) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
