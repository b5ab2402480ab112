// goldens PATH: runs every recorded script at or below PATH and prints the first difference of each
// that fails. Each runs in a process of its own, so that one that ends the core ends no other.
//
// goldens --rewrite FILE: prints the script with the output of this run, to make new ones.
//
// The last line is "N passed, M failed". Exit status: 0 all passed, 1 some failed or there are
// none, 2 wrong use.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "tests/raft/golden.h"

namespace metastore::raft {
namespace {

// Prints what is wrong, if anything.
bool Passes(const std::string& path) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const std::string difference = Difference(path);
    if (!difference.empty()) std::printf("%s\n", difference.c_str());
    std::fflush(stdout);
    std::_Exit(difference.empty() ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    std::printf("%s: no process to run it in\n", path.c_str());
    return false;
  }
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status) == EXIT_SUCCESS;
  std::printf("%s: the core was ended by signal %d\n", path.c_str(), WTERMSIG(status));
  return false;
}

int Main(const std::string& root) {
  if (!std::filesystem::exists(root)) {
    std::fprintf(stderr, "goldens: %s: no such file or folder\n", root.c_str());
    return 2;
  }
  size_t passed = 0;
  size_t failed = 0;
  for (const std::string& path : FindScripts(root)) ++(Passes(path) ? passed : failed);
  if (passed + failed == 0) std::printf("no scripts in %s\n", root.c_str());
  std::printf("%zu passed, %zu failed\n", passed, failed);
  return passed > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int Rewrite(const std::string& path) {
  const StatusOr<std::string> text = Rewritten(path);
  if (text.ok()) return std::fputs(text->c_str(), stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
  const std::string why(StdView(text.status().message()));
  std::fprintf(stderr, "goldens: %s: %s\n", path.c_str(), why.c_str());
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace metastore::raft

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--rewrite") {
    return metastore::raft::Rewrite(argv[2]);
  }
  if (argc != 2) {
    std::fputs("usage: goldens PATH | goldens --rewrite FILE\n", stderr);
    return 2;
  }
  return metastore::raft::Main(argv[1]);
}
