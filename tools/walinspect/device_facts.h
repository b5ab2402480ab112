// DeviceFacts: what Linux says about the block device under a directory. Read with plain file
// calls, before any runtime runs; everything is optional, since file systems without a device of
// their own (btrfs, network) and containers without /sys say little.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace metastore::walinspect {

struct DeviceFacts {
  std::string name;       // of the whole disk, "nvme0n1"; empty: the directory has no block device
  std::string partition;  // on it, if the directory lies on one
  std::vector<std::string> layers;  // devices it is made of (device mapper, md); empty: none
  std::string model;
  std::string transport;  // "virtual", "nvme", "other"
  uint64_t bytes = 0;
  std::string write_cache;  // "write back", "write through"; empty: unknown
  std::optional<bool> fua;  // a durable write can be one request
  std::optional<bool> rotational;
  std::string scheduler;  // the chosen one
  uint64_t logical_block_bytes = 0;
  uint64_t physical_block_bytes = 0;

  // Whether a durable write needs a flush of the device's cache at all.
  bool has_volatile_cache() const { return write_cache == "write back"; }
  // What virtual disks say about rotation is their host's default.
  bool rotates() const { return rotational == true && transport != "virtual"; }
};

// Facts of the device that has `directory`; those that cannot be had are unset.
//   sys   where sysfs is mounted
DeviceFacts DeviceOf(const std::string& directory, const std::string& sys = "/sys");
// The same from a device number.
DeviceFacts DeviceOfNumber(uint32_t major, uint32_t minor, const std::string& sys);

// One line, and one more with what it means for durable writes.
std::string DeviceText(const DeviceFacts& facts);

}  // namespace metastore::walinspect
