#!/usr/bin/env python3
"""Aim: tools/tidy.py finds each kind of breach it is there for, and nothing in clean code.

Method: a small project per test in a temporary directory, one breach planted, tidy.py run on it.
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TIDY = Path(__file__).resolve().parents[2] / "tools" / "tidy.py"
HEADER = "// What this is.\n#pragma once\n"


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.root = Path(self.directory.name)
        self.addCleanup(self.directory.cleanup)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def tidy(self, *arguments):
        command = [sys.executable, str(TIDY), "--root", str(self.root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        findings = done.stdout.splitlines()[:-1]
        self.assertEqual(done.returncode, 1 if findings else 0)
        return findings

    def assert_finds(self, path, text, expected):
        self.write(path, text)
        findings = self.tidy()
        self.assertEqual(len(findings), 1, findings)
        self.assertTrue(findings[0].startswith(path + ":"), findings)
        self.assertIn(expected, findings[0])

    def assert_clean(self, path, text):
        self.write(path, text)
        self.assertEqual(self.tidy(), [])

    # --- includes

    def test_siblings_must_not_include_each_other(self):
        for folder, other in (
            ("wal", "raft"),
            ("raft", "wal"),
            ("engine", "net"),
            ("net", "engine"),
        ):
            with self.subTest(folder=folder):
                text = f'#include "{other}/a.h"\n'
                self.assert_finds(f"{folder}/a.cc", text, f"{folder} must not include {other}/a.h")
                (self.root / folder / "a.cc").unlink()

    def test_raft_knows_only_io_base(self):
        self.assert_finds("raft/a.cc", '#include "io/task.h"\n', "raft must not include io/task.h")

    def test_io_base_includes_nothing_of_ours(self):
        self.assert_finds(
            "io/base/a.cc", '#include "io/task.h"\n', "io/base must not include io/task.h"
        )

    def test_only_main_chooses_a_runtime(self):
        self.assert_finds(
            "server/a.cc", '#include "io/uring/r.h"\n', "must not include io/uring/r.h"
        )

    def test_allowed_includes_are_clean(self):
        self.write(
            "server/a.cc", '#include "server/a.h"\n#include "wal/log.h"\n#include "rpc.pb.h"\n'
        )
        self.write("server/main.cc", '#include "io/uring/r.h"\n')
        self.write("io/uring/r.cc", '#include "io/task.h"\n#include <liburing.h>\n')
        self.write("raft/a.cc", '#include "io/base/ids.h"\n')
        self.assert_clean("tests/sim/a_test.cc", '// Aim.\n#include "io/sim/world.h"\n')

    def test_heavy_headers_stay_out_of_headers(self):
        self.assert_finds("net/a.h", HEADER + "#include <openssl/ssl.h>\n", "in a header")

    def test_yaml_stays_in_one_file(self):
        self.assert_clean("tools/walinspect/main.cc", "#include <CLI/CLI.hpp>\n")
        self.assert_finds(
            "server/other.cc", "#include <yaml-cpp/yaml.h>\n", "server/config_yaml.cc"
        )

    # --- calls

    def test_calls_to_the_outside_are_found(self):
        for call, expected in (
            ("std::chrono::steady_clock::now();", "reads a clock"),
            ("auto t = time(nullptr);", "reads a clock"),
            ("std::thread t;", "starts a thread"),
            ("std::mutex m;", "shares memory"),
            ("std::atomic<int> a;", "shares memory"),
            ("std::random_device d;", "draws a random number"),
            ("int r = rand() % 7; srand(1);", "draws a random number"),
            ("::fsync(fd);", "calls the system"),
            ("int s = socket(1, 2, 3);", "calls the system"),
            ("auto p = ::getpid();", "calls the system"),
            ("std::ifstream f;", "calls the system"),
            ("usleep(5);", "sleeps"),
            ('getenv("HOME");', "reads the environment"),
            ('printf("x");', "prints"),
            ("std::abort();", "ends the process"),
            ("throw 1;", "uses exceptions"),
            ("std::coroutine_handle<> h;", "coroutine handle"),
        ):
            with self.subTest(call=call):
                self.write("wal/a.cc", f"void F() {{ {call} }}\n")
                findings = self.tidy()
                self.assertTrue(findings and all(expected in line for line in findings), findings)

    def test_the_same_words_elsewhere_are_clean(self):
        self.assert_clean(
            "wal/a.cc",
            "// time(nullptr), fsync(fd)\n"
            'const char* kText = "open(1) rand()";\n'
            'const char* kRaw = R"x(std::mutex " )x";\n'
            "constexpr int kMany = 1'000'000;\n"
            "void F() { log.open(1); queue->close(2); Reader::read(3); if (open()) return; }\n"
            "uint64_t write_time(int);\n",
        )
        self.assert_clean("io/uring/a.cc", "void F() { ::fsync(1); std::thread t; }\n")

    def test_a_test_must_not_sleep(self):
        text = "// Aim.\nvoid F() { std::this_thread::sleep_for(x); }\n"
        self.assert_finds("tests/wal/a_test.cc", text, "a test that sleeps")

    # --- coroutines

    def test_forbidden_coroutine_forms_are_found(self):
        for body, expected in (
            ("if (co_await F()) co_return;", "inside a condition"),
            ("while (!co_await F()) {\n}", "inside a condition"),
            ("std::vector<int> v{co_await F()};", "inside braces"),
            ("auto v = Pair{co_await F(), 1};", "inside braces"),
            ("auto v = co_await F() && x;", "beside &&"),
            ("auto v = x ? co_await F() : 1;", "beside &&"),
            ("auto v = co_await F(co_await G());", "two co_await"),
            ("Use(co_await F());", "as an argument"),
            ("EXPECT_EQ(1, co_await F());", "macro"),
            ("auto v = co_await F({.name = n});", "aggregate temporary"),
            ("auto v = co_await F(Options{.name = n});", "aggregate temporary"),
            ("Spawn([this]() -> Task<void> { co_return; });", "lambda as a coroutine"),
            ("auto f = [&] {\n  co_await G();\n};", "lambda as a coroutine"),
        ):
            with self.subTest(body=body):
                self.write("wal/a.cc", f"Task<void> C() {{\n  {body}\n}}\n")
                findings = self.tidy()
                self.assertTrue(any(expected in line for line in findings), findings)

    def test_allowed_coroutine_forms_are_clean(self):
        self.assert_clean(
            "wal/a.cc",
            "Task<int> C(Options options) {\n"
            "  while (!stop.requested()) { co_await Wait(); }\n"
            "  if (ready) {\n    co_await Wait();\n  }\n"
            "  auto&& result = co_await file->Read(offset, span);\n"
            "  const bool both = result.ok() && ready;\n"
            "  auto waited = co_await signal.Wait(io::WaitLimit{.stop = stop});\n"
            "  co_await signal.Wait({.stop = stop});\n"
            "  if (result.ok() && !done) result = co_await Next();\n"
            "  std::sort(a.begin(), a.end(), [](int x, int y) { return x < y; });\n"
            "  values[index] = co_await Next();\n"
            "  co_return co_await Rest(std::move(options));\n"
            "}\n",
        )

    # --- sizes

    def test_long_functions_files_and_lines_are_found(self):
        self.assert_finds(
            "wal/a.cc", "void Long() {\n" + "  F();\n" * 70 + "}\n", "wal/a.cc:Long: 72"
        )
        self.assert_finds("wal/a.cc", "int a;\n" * 601, "file-lines of wal/a.cc: 601")
        self.assert_finds("wal/a.cc", f"// {'x' * 98}\n", "lines-over-100")

    def test_a_constructor_with_initialisers_is_one_function(self):
        text = "Log::Log(int a) : a_(a), b_{a} {\n" + "  F();\n" * 70 + "}\n"
        self.assert_finds("wal/a.cc", text, "wal/a.cc:Log::Log: 72")

    def test_a_class_and_a_namespace_are_no_functions(self):
        inside = (
            "namespace a {\nclass B final : public C<int (*)(int)> {\n"
            + "  int F() { return 1; }\n" * 80
        )
        self.assert_clean("wal/a.cc", inside + "};\n}\n")

    def test_long_python_functions_are_found(self):
        text = "def long():\n" + "    pass\n" * 70
        self.assert_finds("tools/a.py", text, "tools/a.py:long: 71")

    def test_the_ratchet_allows_no_growth(self):
        self.write("tools/tidy_ratchet.txt", "# Exceptions.\nfile-lines wal/a.cc 610\n")
        self.write("wal/a.cc", "int a;\n" * 610)
        self.assertEqual(self.tidy(), [])
        self.assert_finds("wal/a.cc", "int a;\n" * 611, "may only shrink")

    def test_the_ratchet_follows_down_only(self):
        self.write("tools/tidy_ratchet.txt", "# Exceptions.\nfile-lines wal/a.cc 610\n")
        self.write("wal/a.cc", "int a;\n" * 605)
        self.write("wal/b.cc", "int a;\n" * 700)
        self.assertIn("tidy.py --shrink", "".join(self.tidy()))
        self.tidy("--shrink")
        ratchet = (self.root / "tools/tidy_ratchet.txt").read_text()
        self.assertEqual(ratchet, "# Exceptions.\nfile-lines wal/a.cc 605\n")

    def test_the_first_ratchet_lists_what_is_there(self):
        self.write("wal/b.cc", "int a;\n" * 700)
        (self.root / "tools").mkdir()
        self.tidy("--shrink")
        self.assertIn(
            "file-lines wal/b.cc 700\n", (self.root / "tools/tidy_ratchet.txt").read_text()
        )
        self.assertEqual(self.tidy(), [])

    # --- the rest

    def test_headers_open_with_a_comment_and_a_guard(self):
        self.assert_finds("wal/a.h", "#pragma once\n", "opens with a comment")
        self.assert_finds("wal/a.h", "// What this is.\nint a;\n", "no #pragma once")

    def test_words_that_have_no_place_here_are_found(self):
        self.assert_finds("wal/a.cc", "// TO" "DO: later\n", "unfinished work")
        self.assert_finds("wal/a.cc", "// see /wo" "rk/main\n", "a path of one machine")
        (self.root / "wal/a.cc").unlink()
        self.assert_finds("docs/A.md", "Run it in /t" "mp/x.\n", "a path of one machine")

    def test_a_header_that_needs_another_is_found(self):
        (self.root / "build").mkdir()
        self.write("build/compile_commands.json", "[]")
        self.write(
            "wal/good.h", HEADER + "#include <string>\ninline std::string A() { return {}; }\n"
        )
        self.write("wal/bad.h", HEADER + "inline std::string B() { return {}; }\n")
        self.write("wal/twin.h", HEADER + "inline std::string C() { return {}; }\n")
        self.write("wal/twin.cc", '#include "wal/twin.h"\n')
        for attempt in ("compiled", "from the cache"):
            with self.subTest(attempt):
                findings = self.tidy("--build", str(self.root / "build"))
                self.assertEqual(len(findings), 1, findings)
                self.assertIn("wal/bad.h:1: does not compile alone", findings[0])


if __name__ == "__main__":
    unittest.main()
