#include "tools/walinspect/device_facts.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "io/base/status.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

constexpr uint64_t kSectorBytes = 512;  // what /sys counts sizes in

// The file's first line; empty if there is none.
std::string ReadLine(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::optional<uint64_t> ReadNumber(const std::filesystem::path& path) {
  const std::string line = ReadLine(path);
  uint64_t value = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), value);
  if (line.empty() || parsed.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<bool> ReadFlag(const std::filesystem::path& path) {
  const std::optional<uint64_t> value = ReadNumber(path);
  return value ? std::optional<bool>(*value != 0) : std::nullopt;
}

// "none [mq-deadline] kyber": the one in brackets.
std::string ChosenOf(const std::string& line) {
  const size_t begin = line.find('[');
  const size_t end = line.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return line;
  return line.substr(begin + 1, end - begin - 1);
}

std::string TransportOf(const std::string& name, const std::string& place) {
  if (name.starts_with("vd") || name.starts_with("xvd") ||
      place.find("/virtio") != std::string::npos) {
    return "virtual";
  }
  return name.starts_with("nvme") ? "nvme" : "other";
}

}  // namespace

DeviceFacts DeviceOfNumber(uint32_t major, uint32_t minor, const std::string& sys) {
  DeviceFacts facts;
  std::error_code missing;
  std::filesystem::path place =
      std::filesystem::canonical(Concat(sys, "/dev/block/", major, ":", minor), missing);
  if (missing) return facts;
  if (std::filesystem::exists(place / "partition", missing)) {
    facts.partition = place.filename();
    place = place.parent_path();
  }
  facts.name = place.filename();
  for (const auto& layer : std::filesystem::directory_iterator(place / "slaves", missing)) {
    facts.layers.push_back(layer.path().filename());
  }
  std::ranges::sort(facts.layers);
  facts.transport = TransportOf(facts.name, place.string());
  facts.model = ReadLine(place / "device/model");
  if (facts.model.empty()) facts.model = ReadLine(place / "dm/name");
  facts.bytes = ReadNumber(place / "size").value_or(0) * kSectorBytes;
  const std::filesystem::path queue = place / "queue";
  facts.write_cache = ReadLine(queue / "write_cache");
  facts.fua = ReadFlag(queue / "fua");
  facts.rotational = ReadFlag(queue / "rotational");
  facts.scheduler = ChosenOf(ReadLine(queue / "scheduler"));
  facts.logical_block_bytes = ReadNumber(queue / "logical_block_size").value_or(0);
  facts.physical_block_bytes = ReadNumber(queue / "physical_block_size").value_or(0);
  return facts;
}

DeviceFacts DeviceOf(const std::string& directory, const std::string& sys) {
  struct stat found = {};
  if (stat(directory.c_str(), &found) != 0) return {};
  return DeviceOfNumber(major(found.st_dev), minor(found.st_dev), sys);
}

std::string DeviceText(const DeviceFacts& facts) {
  if (facts.name.empty()) {
    return "device: the file system has no block device of its own (btrfs, overlay, network), or\n"
           "  /sys is not to be seen here: its cache and FUA are unknown\n";
  }
  std::string text = Concat("device: ", facts.name);
  if (!facts.partition.empty()) text += Concat(", partition ", facts.partition);
  if (!facts.model.empty()) text += Concat(", ", facts.model);
  for (const std::string& layer : facts.layers) text += Concat(", on ", layer);
  text += Concat(", ", BytesText(facts.bytes), ", blocks of ", facts.logical_block_bytes, "/",
                 facts.physical_block_bytes, ", scheduler ",
                 facts.scheduler.empty() ? "none" : facts.scheduler);
  if (facts.rotational) text += Concat(", rotational ", *facts.rotational ? 1 : 0);
  if (facts.rotational == true && !facts.rotates()) text += " (a virtual disk: says nothing)";
  if (facts.write_cache.empty()) return text + "\n  write cache and FUA unknown\n";
  text += Concat("\n  write cache: ", facts.write_cache,
                 ", FUA: ", facts.fua == true ? "yes" : "no", ": ");
  if (!facts.has_volatile_cache()) {
    return text + "the device says that nothing is lost without power; flushes are free\n";
  }
  return text + (facts.fua == true ? "a durable write is one request\n"
                                   : "a durable write is a write, then a flush of the cache\n");
}

}  // namespace metastore::walinspect
