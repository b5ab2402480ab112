// The only file that includes CLI11, which reports by exceptions: they end here.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "server/config_flags.h"

namespace metastore::server {
namespace {

// The flag that `argument` names, without dashes and value; empty if it has not the form of one.
std::string_view FlagNameIn(std::string_view argument) {
  if (!argument.starts_with('-')) return {};
  argument.remove_prefix(argument.starts_with("--") ? 2 : 1);
  return argument.substr(0, argument.find('='));
}

// Go's spellings for CLI11's: it takes one dash for a row of one-letter flags, and an empty value
// after '=' for none, so that the next argument would become the value.
std::vector<std::string> Respelled(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    const std::string name(FlagNameIn(argument));
    const FlagSpec* flag = FindFlag(name);
    const bool known = flag != nullptr || name == "help" || name == "version";
    if (known && !argument.starts_with("--")) argument.insert(0, "-");
    const bool empty_value = flag != nullptr && flag->type != FlagType::kBool &&
                             argument.size() == name.size() + 3 && argument.ends_with('=');
    if (empty_value) argument.pop_back();
    arguments.push_back(std::move(argument));
    if (empty_value) arguments.emplace_back();
  }
  return arguments;
}

struct Found {
  std::string_view name;
  CLI::Option* option = nullptr;
  std::string value;
};

void Declare(CLI::App& app, std::string_view name, bool is_flag, Found& found) {
  const std::string spelled = Concat("--", name);
  found.name = name;
  found.option =
      is_flag ? app.add_flag(spelled, found.value) : app.add_option(spelled, found.value);
  found.option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

// Declares every flag in both spellings; `found` keeps their values in place while the parser
// lives.
void DeclareAll(CLI::App& app, std::vector<Found>& found) {
  size_t count = FlagAliases().size();
  for (const FlagSection& section : FlagSections()) count += section.flags.size();
  found.resize(count);
  size_t next = 0;
  for (const FlagSection& section : FlagSections()) {
    for (const FlagSpec& flag : section.flags) {
      Declare(app, flag.name, flag.type == FlagType::kBool, found[next++]);
    }
  }
  for (const FlagAlias& alias : FlagAliases()) {
    Declare(app, alias.old_name, FindFlag(alias.name)->type == FlagType::kBool, found[next++]);
  }
}

void AddExtras(const std::vector<std::string>& extras, Gathered& gathered) {
  for (const std::string& extra : extras) {
    const bool flag = extra.starts_with('-');
    gathered.problems.push_back(
        Concat(extra, flag ? ": no such flag; --help lists them" : ": an argument without a flag"));
  }
}

// Throws CLI::Error.
Gathered Parse(std::vector<std::string> arguments) {
  Gathered gathered;
  std::vector<Found> found;
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  app.add_flag("--help,-h", gathered.help);
  app.add_flag("--version", gathered.version);
  DeclareAll(app, found);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(arguments);
  AddExtras(app.remaining(), gathered);
  for (const Found& one : found) {
    if (one.option->count() == 0) continue;
    gathered.Add(one.name, one.value, Concat("--", one.name, "=", one.value));
  }
  return gathered;
}

}  // namespace

Gathered ReadCommandLine(int argc, const char* const* argv) {
  std::vector<std::string> arguments = Respelled(argc, argv);
  std::vector<std::string> problems;
  while (true) {
    try {
      Gathered gathered = Parse(arguments);
      gathered.problems.insert(gathered.problems.begin(), problems.begin(), problems.end());
      return gathered;
    } catch (const CLI::ArgumentMismatch&) {
      // A flag takes whatever follows as its value, as in Go, so only the last argument can lack
      // one.
      problems.push_back(arguments.back() + ": needs a value");
      arguments.pop_back();
    } catch (const CLI::Error& error) {
      problems.push_back(error.what());
      return Gathered{.problems = std::move(problems)};
    }
  }
}

}  // namespace metastore::server
