// The only file that includes yaml-cpp, which reports by exceptions: they end here.
#include <yaml-cpp/yaml.h>

#include <array>

#include "server/config_flags.h"
#include "server/config_values.h"

namespace metastore::server {
namespace {

struct Nested {
  std::string_view map;
  std::string_view key;
  std::string_view flag;
};

// Maps (etcd's, and `batch`): keys inside them that are not named as prefix + key.
constexpr auto kNested = std::to_array<Nested>({
    {"client-transport-security", "allowed-hostname", "client-cert-allowed-hostname"},
    {"client-transport-security", "crl-file", "client-crl-file"},
    {"peer-transport-security", "allowed-cn", "peer-cert-allowed-cn"},
    {"peer-transport-security", "allowed-hostname", "peer-cert-allowed-hostname"},
    {"peer-transport-security", "client-cert-file", "peer-client-cert-file"},
    {"peer-transport-security", "client-key-file", "peer-client-key-file"},
    {"discovery-config", "discovery", "discovery-token"},
    {"batch", "min_batch_size", "batch-min-batch-size"},
    {"batch", "max_batch_size", "batch-max-batch-size"},
    {"batch", "min_timeout", "batch-min-timeout"},
    {"batch", "max_timeout", "batch-max-timeout"},
    {"batch", "load_threshold", "batch-load-threshold"},
});

struct MapPrefix {
  std::string_view map;
  std::string_view prefix;
};

constexpr auto kMaps = std::to_array<MapPrefix>({
    {"client-transport-security", ""},
    {"peer-transport-security", "peer-"},
    {"discovery-config", "discovery-"},
    {"socket-options", "socket-"},
    {"batch", "batch-"},
});

class Reader {
 public:
  Reader(std::string_view path, Gathered& gathered) : path_(path), gathered_(gathered) {}

  void Read(const YAML::Node& root) {
    if (root.IsNull()) return;
    if (!root.IsMap()) {
      gathered_.problems.push_back(Concat(path_, ": expected `flag: value` lines"));
      return;
    }
    for (const auto& entry : root) {
      if (entry.first.IsScalar()) {
        ReadEntry(entry.first.Scalar(), entry.second);
      } else {
        Problem("a key", "expected the name of a flag");
      }
    }
  }

 private:
  void ReadEntry(const std::string& key, const YAML::Node& value) {
    for (const MapPrefix& map : kMaps) {
      if (map.map == key) return ReadMap(map, value);
    }
    ReadFlag(key, key, value);
  }

  void ReadMap(const MapPrefix& map, const YAML::Node& node) {
    if (node.IsNull()) return;
    if (!node.IsMap()) return Problem(map.map, "expected a map");
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        Problem(map.map, "expected the name of a flag");
        continue;
      }
      const std::string& key = entry.first.Scalar();
      ReadFlag(FlagIn(map, key), Concat(map.map, ".", key), entry.second);
    }
  }

  static std::string FlagIn(const MapPrefix& map, std::string_view key) {
    for (const Nested& nested : kNested) {
      if (nested.map == map.map && nested.key == key) return std::string(nested.flag);
    }
    return Concat(map.prefix, key);
  }

  void ReadFlag(std::string_view flag_name, std::string_view shown, const YAML::Node& value) {
    if (value.IsNull()) return;
    const FlagSpec* flag = FindFlag(flag_name);
    if (flag == nullptr || flag->name == "config-file") return Problem(shown, "no such setting");
    std::string text;
    if (value.IsSequence()) {
      if (flag->type != FlagType::kList) return Problem(shown, "expected one value, not a list");
      for (const auto& item : value) {
        if (!item.IsScalar()) return Problem(shown, "expected a list of plain values");
        text += Concat(text.empty() ? "" : ",", item.Scalar());
      }
    } else if (value.IsScalar()) {
      text = value.Scalar();
    } else {
      return Problem(shown, "expected a plain value");
    }
    // An empty text is a value that was left out, as in etcd.
    if (text.empty()) return;
    // In a file etcd's durations are plain nanoseconds.
    if (flag->type == FlagType::kDuration && ParseUint(text).ok()) text += "ns";
    gathered_.Add(flag_name, text, Concat(shown, ": ", text, " in ", path_));
  }

  void Problem(std::string_view key, std::string_view what) {
    gathered_.problems.push_back(Concat(path_, ": ", key, ": ", what));
  }

  std::string_view path_;
  Gathered& gathered_;
};

}  // namespace

Gathered ReadYaml(std::string_view text, std::string_view path) {
  Gathered gathered;
  if (text.size() > kConfigFileBytesMax) {
    gathered.problems.push_back(Concat(path, ": larger than ", kConfigFileBytesMax, " bytes"));
    return gathered;
  }
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    Reader(path, gathered).Read(root);
  } catch (const YAML::Exception& error) {
    gathered.problems.push_back(Concat(path, ": ", error.what()));
  }
  return gathered;
}

}  // namespace metastore::server
