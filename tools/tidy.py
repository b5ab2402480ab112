#!/usr/bin/env python3
"""Checks the rules that compilers do not: includes, calls to the outside, coroutine forms, sizes.

usage: tidy.py [--build DIR] [--root DIR] [--shrink] [FILES]

Prints one line a finding, `file:line: what`, and exits 1 if there is any. The rules are
docs/STYLE.md's and docs/ARCHITECTURE.md's. Sizes are a ratchet: what was too large when the rule
came is listed in tools/tidy_ratchet.txt and may only shrink; --shrink writes the smaller numbers.
With --build, a directory that has compile_commands.json, headers are also compiled alone.
"""
import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

import tidy_cpp
import tidy_headers

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100
RATCHET = "tools/tidy_ratchet.txt"
RATCHET_HEAD = [
    "# Sizes that exceed a limit of tools/tidy.py and may only shrink: kind, where, number.",
    "# No line is ever added by hand; tools/tidy.py --shrink lowers and drops lines.",
]

LIBRARIES = ("io/base", "io/uring", "io/sim", "io", "wal", "raft", "engine", "net", "server")
# Dependency rule: what each folder may include besides itself.
MAY_INCLUDE = {
    "io/base": (),
    "io": ("io/base",),
    "io/uring": ("io", "io/base"),
    "io/sim": ("io", "io/base"),
    "wal": ("io", "io/base"),
    "raft": ("io/base",),
    "engine": ("io", "io/base"),
    "net": ("io", "io/base"),
    "server": ("io", "io/base", "wal", "raft", "engine", "net"),
}
# Only here a real or a simulated runtime is chosen.
MAY_CHOOSE_RUNTIME = ("server/main.cc",)

# Expensive or leaking headers: not in our headers (libraries' own types stay behind a .cc).
NOT_IN_HEADERS = re.compile(
    r'#include\s+[<"](CLI/|yaml-cpp/|spdlog/|fmt/|prometheus/|google/protobuf/|'
    r"\w+\.pb\.h|gmock/|openssl/|"
    r"ranges>|chrono>|regex>|filesystem>|iostream>)"
)
# One .cc each of the libraries' folders, since they report by exceptions.
ONE_FILE = {"CLI/": "server/config_cli.cc", "yaml-cpp/": "server/config_yaml.cc"}

_OS_CALLS = """
    open openat creat close read write pread pwrite preadv pwritev preadv2 pwritev2 readv writev
    lseek fsync fdatasync sync syncfs sync_file_range ftruncate truncate fallocate
    posix_fallocate unlink unlinkat rename renameat mkdir mkdirat rmdir opendir readdir closedir
    stat fstat lstat statx statfs fstatfs statvfs mmap munmap madvise mlock mlockall flock
    socket bind listen accept accept4 connect send recv sendmsg recvmsg sendto recvfrom shutdown
    setsockopt getsockopt getsockname poll ppoll select epoll_create1 epoll_ctl epoll_wait
    eventfd timerfd_create fork vfork execv execve execvp execlp waitpid kill raise signal
    sigaction sigprocmask pipe pipe2 dup dup2 fcntl ioctl syscall getpid gettid
    sched_setaffinity sched_yield getaddrinfo gethostbyname system popen getrlimit setrlimit
    getrusage uname sysconf fopen fread fwrite freopen
"""
# Without arguments a lower-case call is mostly an accessor: these count only as ::call().
_OS_CALLS_BARE = "fork vfork getpid getppid gettid sched_yield sync"
_NOT_A_MEMBER = r"(?<![\w.>:])(?:(?<!\w)::|std::)?"

# (pattern, folders where it is allowed, what it is)
BANNED = (
    (
        re.compile(
            r"std::chrono::\w*_clock|\b(clock_gettime|gettimeofday|clock_nanosleep|"
            r"timespec_get|localtime|"
            r"localtime_r|gmtime|gmtime_r)\s*\(|"
            + _NOT_A_MEMBER
            + r"\btime\s*\(\s*(0|NULL|nullptr|&\w+)\s*\)"
        ),
        ("io/uring",),
        "reads a clock: only through io::Runtime",
    ),
    (
        re.compile(r"std::(jthread|thread)\b|\bpthread_\w+\s*\(|#include\s+<thread>|std::async\b"),
        ("io/uring",),
        "starts a thread: only io/uring does",
    ),
    (
        re.compile(
            r"std::(\w*mutex|condition_variable\w*|atomic\w*|future|promise|latch|barrier|"
            r"call_once|once_flag|"
            r"lock_guard|unique_lock|scoped_lock|shared_lock)\b|\bthread_local\b|absl::Mutex\b"
        ),
        ("io", "io/base", "io/uring", "io/sim"),
        "shares memory between threads: only io/ does",
    ),
    (
        re.compile(
            r"\b(random_device|mt19937\w*|default_random_engine|arc4random\w*|"
            r"getrandom|getentropy)\b|"
            r"absl::(Insecure)?BitGen\b|" + _NOT_A_MEMBER + r"\b(rand|srand|random|drand48)\s*\("
        ),
        ("io/uring",),
        "draws a random number: only through io::Runtime",
    ),
    (
        re.compile(
            _NOT_A_MEMBER + r"\b(" + "|".join(_OS_CALLS.split()) + r")\s*\((?!\s*\))|"
            r"(?:::)\b(" + "|".join(_OS_CALLS_BARE.split()) + r")\s*\(\s*\)|"
            r"std::[io]?fstream\b|std::filesystem\b|\bio_uring_\w+\s*\("
        ),
        ("io/uring",),
        "calls the system: only through io::Runtime",
    ),
    (
        re.compile(_NOT_A_MEMBER + r"\b(sleep|usleep|nanosleep)\s*\(|std::this_thread\b"),
        ("io/uring",),
        "sleeps: only through io::Runtime",
    ),
    (
        re.compile(r"\b(getenv|secure_getenv|setenv|putenv)\s*\(|\benviron\b"),
        (),
        "reads the environment: only server/config does",
    ),
    (
        re.compile(
            r"std::(cout|cerr|clog)\b|"
            + _NOT_A_MEMBER
            + r"\b(printf|fprintf|puts|fputs|putchar)\s*\("
        ),
        ("io/uring",),
        "prints: use the runtime's log",
    ),
    (
        re.compile(_NOT_A_MEMBER + r"\b(exit|_exit|_Exit|quick_exit|abort)\s*\("),
        ("io/uring",),
        "ends the process: only main and CHECK do",
    ),
    (
        re.compile(r"\bthrow\b(?!\s*\()|\bcatch\s*\(|\btry\s*\{"),
        ("io/uring",),
        "uses exceptions: only server/config does, for libraries that throw",
    ),
    (
        re.compile(r"\bcoroutine_handle\b"),
        ("io", "io/base", "io/uring", "io/sim"),
        "touches a coroutine handle: only io/ does",
    ),
)
# Files that are the one place for something the table bans; each with its reason.
EXEMPT = {
    "server/config.cc": "reads the environment and the configuration file, before any reactor runs",
    "server/config_cli.cc": "catches what CLI11 throws",
    "server/config_yaml.cc": "catches what yaml-cpp throws",
    "server/main.cc": "prints help and version and ends the process",
    "io/base/check.h": "CHECK prints and aborts",
    "io/base/check.cc": "CHECK prints and aborts",
}
# Tests of waiting code run on the simulator; the runtimes' own and real-process tests may wait.
TEST_SLEEPS = re.compile(
    r"std::this_thread::sleep\w*|" + _NOT_A_MEMBER + r"\b(sleep|usleep|nanosleep)\s*\("
)
TEST_SLEEPS_ALLOWED = ("tests/io/", "tests/e2e/", "tests/tools/")

MARKERS = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP|TBD)\b|\b[Nn]ot implemented\b")
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(work|root|home)/\w")
TEMPORARY_PATHS = re.compile(r"(?<![\w.$}])/tmp/")
# How the product came about is no part of it.
PROCESS_WORDS = re.compile(
    r"\b(LLMs?|language model|AI[- ](generated|assisted|agent|model)s?|(coding|sub)[- ]?agents?|"
    r"issue #?\d+|(next|previous|earlier|later) (session|sprint)|the (lead|other) engineers?)\b",
    re.I,
)

CODE = (".h", ".cc")
TEXT = CODE + (
    ".py",
    ".sh",
    ".proto",
    ".md",
    ".txt",
    ".cmake",
    ".json",
    ".yml",
    ".yaml",
    ".supp",
    ".service",
)
SPEAKS_OF_THE_RULES = ("tools/tidy.py", "tests/tools/tidy_test.py")


class Findings:
    """What was found, and the sizes that the ratchet knows of."""

    def __init__(self, ratchet):
        self.lines = []
        self.ratchet = ratchet
        self.measured = {}

    def add(self, path, line, what):
        self.lines.append((path, line, what))

    def measure(self, kind, where, path, line, size, limit):
        """A size above `limit`: a finding unless the ratchet lists it with at least that number."""
        if size <= limit:
            return
        self.measured[(kind, where)] = size
        allowed = self.ratchet.get((kind, where))
        if allowed is None:
            self.add(path, line, f"{kind} of {where}: {size}, at most {limit}")
        elif size > allowed:
            self.add(
                path,
                line,
                f"{kind} of {where}: {size}, was {allowed} ({RATCHET}) and may only shrink",
            )

    def check_ratchet(self, checked_all):
        for (kind, where), allowed in sorted(self.ratchet.items()):
            size = self.measured.get((kind, where))
            if checked_all and (size is None or size < allowed):
                now = "is within the limit now" if size is None else f"is {size} now"
                self.add(
                    RATCHET,
                    1,
                    f"{kind} of {where} {now}, not {allowed}: run tools/tidy.py --shrink",
                )


def read_ratchet(path):
    entries = {}
    if path.exists():
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                kind, where, size = line.rsplit(None, 2)
                entries[(kind, where)] = int(size)
    return entries


def write_ratchet(path, old, measured):
    """Only ever lowers or drops entries; where there is no list yet, lists what is there."""
    if path.exists():
        head = [line for line in path.read_text().splitlines() if line.startswith("#")]
        kept = {key: min(size, measured[key]) for key, size in old.items() if key in measured}
    else:
        head, kept = RATCHET_HEAD, measured
    rows = [f"{kind} {where} {size}" for (kind, where), size in sorted(kept.items())]
    path.write_text("\n".join([*head, *rows]) + "\n")


def folder_of(path):
    """The library folder a file or include path belongs to, or its first component."""
    for folder in LIBRARIES:
        if path.startswith(folder + "/") and (folder != "io" or path.count("/") == 1):
            return folder
    return path.split("/")[0]


def check_includes(path, text, findings):
    folder = folder_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        include = re.match(r'\s*#include\s+["<]([^">]+)[">]', line)
        if include is None:
            continue
        if path.endswith(".h") and folder in LIBRARIES and NOT_IN_HEADERS.match(line.strip()):
            findings.add(path, number, f"{include[1]} in a header: include it in a .cc")
        for prefix, only in ONE_FILE.items():
            if folder in LIBRARIES and include[1].startswith(prefix) and path != only:
                findings.add(path, number, f"{prefix} outside {only}")
        if folder not in LIBRARIES or "/" not in include[1] or '"' not in line:
            continue
        target = folder_of(include[1])
        if target not in LIBRARIES or target == folder or target in MAY_INCLUDE[folder]:
            if target in ("tests", "bench", "tools"):
                findings.add(path, number, f"{folder} includes {include[1]}")
            continue
        if target in ("io/uring", "io/sim") and path in MAY_CHOOSE_RUNTIME:
            continue
        findings.add(
            path,
            number,
            f"{folder} must not include {include[1]} (docs/ARCHITECTURE.md, dependency rule)",
        )


def check_calls(path, code, findings):
    folder = folder_of(path)
    if folder in LIBRARIES and path not in EXEMPT:
        for pattern, allowed, what in BANNED:
            if folder in allowed:
                continue
            for found in pattern.finditer(code):
                findings.add(
                    path, tidy_cpp.line_of(code, found.start()), f"{found[0].strip()} {what}"
                )
    if path.startswith("tests/") and not path.startswith(TEST_SLEEPS_ALLOWED):
        for found in TEST_SLEEPS.finditer(code):
            findings.add(
                path,
                tidy_cpp.line_of(code, found.start()),
                "a test that sleeps: use SimRuntime's time",
            )


def check_cpp(path, text, findings):
    code = tidy_cpp.blank(text)
    check_includes(path, text, findings)
    check_calls(path, code, findings)
    for position, message in tidy_cpp.coroutine_findings(code):
        findings.add(path, tidy_cpp.line_of(code, position), message)
    for found in re.finditer(r"\busing\s+namespace\b", code):
        findings.add(path, tidy_cpp.line_of(code, found.start()), "using namespace")
    for name, first, last in tidy_cpp.functions(code):
        findings.measure(
            "function-lines", f"{path}:{name}", path, first, last - first + 1, FUNCTION_LINES_MAX
        )
    opens_with_comment = text.startswith("//")
    if path.endswith(".h"):
        if not re.search(r"^#pragma once$", text, re.M):
            findings.add(path, 1, "no #pragma once")
        if not opens_with_comment:
            findings.add(
                path, 1, "a header opens with a comment: what this is, who owns it, its invariants"
            )
    elif path.endswith("_test.cc") and not opens_with_comment:
        findings.add(path, 1, "a test opens with a comment: aim and method")


def check_python(path, text, findings):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = node.end_lineno - node.lineno + 1
            findings.measure(
                "function-lines", f"{path}:{node.name}", path, node.lineno, size, FUNCTION_LINES_MAX
            )


def check_words(path, text, findings):
    if path in SPEAKS_OF_THE_RULES:
        return
    patterns = [
        (MARKERS, "unfinished work is marked"),
        (MACHINE_PATHS, "a path of one machine"),
        (PROCESS_WORDS, "how the product came about is no part of it"),
    ]
    if not path.startswith("tests/"):
        patterns.append((TEMPORARY_PATHS, "a path of one machine"))
    for pattern, what in patterns:
        for found in pattern.finditer(text):
            findings.add(path, tidy_cpp.line_of(text, found.start()), f"{what}: {found[0].strip()}")


def check_file(root, path, findings):
    text = (root / path).read_text(errors="replace")
    suffix = Path(path).suffix
    check_words(path, text, findings)
    if suffix not in CODE + (".py", ".sh", ".proto"):
        return
    lines = text.splitlines()
    if suffix != ".proto":  # a schema is one file
        findings.measure("file-lines", path, path, 1, len(lines), FILE_LINES_MAX)
    long_lines = [number for number, line in enumerate(lines, 1) if len(line) > LINE_COLUMNS_MAX]
    if long_lines:
        findings.measure(
            f"lines-over-{LINE_COLUMNS_MAX}", path, path, long_lines[0], len(long_lines), 0
        )
    if suffix in CODE:
        check_cpp(path, text, findings)
    elif suffix == ".py":
        check_python(path, text, findings)


def project_files(root):
    """Tracked and new files that git does not ignore; without git, all but build/."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = listing.stdout.splitlines()
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    skip = ("build/", "tests/data/", "tests/fuzz/corpus")
    return sorted(
        name
        for name in set(names)
        if (root / name).is_file()
        and not name.startswith(skip)
        and (Path(name).suffix in TEXT or name in ("CMakeLists.txt", "tools/dev", ".ci/run"))
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    ratchet = read_ratchet(root / RATCHET)
    findings = Findings(ratchet)
    files = arguments.files or project_files(root)
    for path in files:
        check_file(root, path, findings)
    if arguments.shrink:
        write_ratchet(root / RATCHET, ratchet, findings.measured)
    else:
        findings.check_ratchet(not arguments.files)
    if arguments.build:
        headers = [path for path in files if path.endswith(".h") and folder_of(path) in LIBRARIES]
        for path, message in tidy_headers.check(root, arguments.build, headers):
            findings.add(path, 1, message)
    for path, line, what in sorted(findings.lines):
        print(f"{path}:{line}: {what}")
    print(f"tidy: {len(files)} files, {len(findings.lines)} findings")
    return 1 if findings.lines else 0


if __name__ == "__main__":
    sys.exit(main())
