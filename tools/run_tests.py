#!/usr/bin/env python3
"""Runs the tests of several builds as one ctest run, then says what was skipped and why.

usage: run_tests.py [--jobs N] BUILD=LABELS...
  BUILD is a preset under build/; LABELS are joined by commas, none takes all its tests.

The tests of each build are read from ctest itself and written, prefixed by the build's name, into
one test file under build/all-tests. So a failing sanitizer test and a failing real-process test
appear in one list, and the last lines are one summary.
"""
import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Per build: what the test presets of CMakePresets.json set too.
ENVIRONMENT = {
    "asan": [
        "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1"
        ":check_initialization_order=1",
        "ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19",
    ],
    "tsan": [
        f"TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions={ROOT}/tools/tsan.supp",
    ],
}
TIMEOUT_DEFAULT_S = 600


def bracket(text):
    """`text` as a CMake bracket argument, whatever it holds."""
    level = 1
    while f"]{'=' * level}]" in text:
        level += 1
    mark = "=" * level
    return f"[{mark}[{text}]{mark}]"


def tests_of(root, build, label):
    """The tests of one build directory, as ctest lists them."""
    command = ["ctest", "--test-dir", f"build/{build}", "--show-only=json-v1"]
    if label:
        command += ["-L", f"^({label.replace(',', '|')})$"]
    listing = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if listing.returncode != 0:
        sys.exit(f"run_tests.py: cannot list the tests of build/{build}:\n{listing.stderr}")
    return json.loads(listing.stdout)["tests"]


def properties_of(build, test):
    """CMake property pairs of `test`, its environment extended by the build's."""
    properties = {p["name"]: p["value"] for p in test.get("properties", [])}
    environment = properties.get("ENVIRONMENT", [])
    if isinstance(environment, str):
        environment = [environment]
    properties["ENVIRONMENT"] = environment + ENVIRONMENT.get(build, [])
    properties.setdefault("TIMEOUT", TIMEOUT_DEFAULT_S)
    for name, value in properties.items():
        if isinstance(value, bool):
            value = "TRUE" if value else "FALSE"
        elif isinstance(value, list):
            # Plain lists; structured properties are not used in this project.
            value = ";".join(str(item) for item in value)
        if value != "":
            yield name, str(value)


def write_plan(root, plans, directory):
    """Writes CTestTestfile.cmake; gives the number of tests per build."""
    lines, counts = [], {}
    for build, label in plans:
        tests = tests_of(root, build, label)
        counts[build] = len(tests)
        for test in tests:
            name = bracket(f"{build}.{test['name']}")
            if "command" not in test:
                sys.exit(
                    f"run_tests.py: {build}.{test['name']} has no command: was build/{build} built?"
                )
            lines.append(f"add_test({name} {' '.join(bracket(part) for part in test['command'])})")
            pairs = " ".join(f"{key} {bracket(value)}" for key, value in properties_of(build, test))
            lines.append(f"set_tests_properties({name} PROPERTIES {pairs})")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "CTestTestfile.cmake").write_text("\n".join(lines) + "\n")
    return counts


def skip_reasons(log_text):
    """(test, reason) of each thing skipped, from ctest's log of the run."""
    for block in re.split(r"^(?=\d+/\d+ Testing: )", log_text, flags=re.M):
        name = re.match(r"\d+/\d+ Test(?:ing)?: (.*)", block)
        if name is None:
            continue
        # gtest prints "file:line: Skipped", then the reason; a script lines that start with SKIP.
        reasons = re.findall(r": Skipped\n(.+)", block)
        reasons += re.findall(r"^(?:SKIP|SKIPPED|skipped):? +(.+)", block, flags=re.M)
        for reason in dict.fromkeys(reasons):
            yield name[1], reason.strip()


def run(directory, jobs):
    """Runs ctest; gives its exit status and its summary lines."""
    command = [
        "ctest",
        "--test-dir",
        str(directory),
        "--output-on-failure",
        "--no-tests=error",
        "-j",
        str(jobs),
    ]
    summary, in_summary = [], False
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            in_summary = in_summary or re.match(r"\d+% tests passed", line) is not None
            quiet = re.match(r" *\d+/\d+ Test +#\d+: .* Passed ", line) or re.match(
                r" *Start +\d+: ", line
            )
            if in_summary:
                summary.append(line)
            elif not quiet:
                print(line, end="", flush=True)
        status = process.wait()
    return status, summary


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("plans", nargs="+", metavar="BUILD=LABELS")
    arguments = parser.parse_args()
    plans = [tuple(plan.split("=", 1)) for plan in arguments.plans]
    directory = arguments.root / "build" / "all-tests"
    counts = write_plan(arguments.root, plans, directory)
    print("tests: " + ", ".join(f"{build} {count}" for build, count in counts.items()), flush=True)
    for build, count in counts.items():
        if count == 0:
            print(f"skipped: build/{build} has no tests to run for this plan")
    status, summary = run(directory, arguments.jobs)
    log = directory / "Testing" / "Temporary" / "LastTest.log"
    told = list(skip_reasons(log.read_text(errors="replace"))) if log.exists() else []
    for name, reason in told:
        print(f"skipped: {name}: {reason}")
    for name in re.findall(r"^\s*\d+ - (.+) \(Skipped\)$", "".join(summary), flags=re.M):
        if name not in dict(told):
            print(f"skipped: {name}: it printed no reason")
    print("".join(summary), end="")
    return status


if __name__ == "__main__":
    sys.exit(main())
