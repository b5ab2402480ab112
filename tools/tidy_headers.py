"""Self-contained headers: each compiles alone.

A header whose .cc of the same name includes it first is proven by that file's own compilation (the
release preset has no precompiled header), so only the others are compiled here. Results are kept in
the build directory by content.
"""
import hashlib
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COMPILER = "clang++-19"
CACHE = "tidy_headers.json"


def _own_includes(text):
    return re.findall(r'^\s*#include\s+"([^"]+)"', text, re.M)


def _proven_by_twin(root, header):
    twin = root / (header[:-2] + ".cc")
    if not twin.exists():
        return False
    includes = re.findall(r'^\s*#include\s+["<]([^">]+)[">]', twin.read_text(), re.M)
    return bool(includes) and includes[0] == header


def _content_hash(root, header, salt):
    """Over the header and everything of ours it includes."""
    seen, queue, digest = set(), [header], hashlib.sha256(salt.encode())
    while queue:
        path = queue.pop()
        if path in seen or not (root / path).exists():
            continue
        seen.add(path)
        queue += _own_includes((root / path).read_text())
    for path in sorted(seen):
        digest.update(path.encode() + b"\0" + (root / path).read_bytes())
    return digest.hexdigest()


def _include_flags(root, build):
    """Every include directory and definition that the build's own compilations use."""
    flags = {f"-I{root}": None}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        for word, following in zip(words, words[1:] + [""]):
            if word in ("-isystem", "-I"):
                flags[f"{word} {following}"] = None
            elif word.startswith("-D") and "MS_" not in word:
                flags[word] = None
    return [part for flag in flags for part in flag.split(" ", 1)]


def _compile(root, header, flags):
    command = [
        COMPILER,
        "-fsyntax-only",
        "-std=c++20",
        "-x",
        "c++",
        "-Wno-pragma-once-outside-header",
        "-w",
        *flags,
        header,
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    first = next((line for line in done.stderr.splitlines() if "error:" in line), done.stderr[:200])
    return f"does not compile alone: {first}"


def check(root, build, headers):
    """(header, message) of each that does not compile alone."""
    build = build.resolve()
    if not (build / "compile_commands.json").exists():
        return [
            (
                "CMakeLists.txt",
                f"{build.name}/compile_commands.json is missing: configure the build first",
            )
        ]
    flags = _include_flags(root, build)
    cache_path = build / CACHE
    try:
        cache = json.loads(cache_path.read_text())
    except (OSError, ValueError):
        cache = {}
    salt = " ".join(flags)
    wanted = {
        header: _content_hash(root, header, salt)
        for header in headers
        if not _proven_by_twin(root, header)
    }
    stale = [header for header, digest in wanted.items() if cache.get(digest) is not True]
    with ThreadPoolExecutor() as pool:
        results = list(zip(stale, pool.map(lambda header: _compile(root, header, flags), stale)))
    good = {digest: True for header, digest in wanted.items() if header not in stale}
    good.update({wanted[header]: True for header, message in results if message is None})
    cache_path.write_text(json.dumps(good))
    return [(header, message) for header, message in results if message is not None]
