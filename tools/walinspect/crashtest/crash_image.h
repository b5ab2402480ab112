// What a crash leaves: the ways in which it may go (variants), and the files of one of them. Pure.
//
// A variant and a seed decide an image wholly, so a name such as "312/s5" is enough to make it
// again.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/walinspect/crashtest/disk_replay.h"

namespace metastore::crashtest {

struct ImageFile {
  std::string path;  // below the data directory, beginning with '/'
  uint64_t bytes = 0;
  // Offset and content of what is not zero, in order, apart.
  std::vector<std::pair<uint64_t, std::string>> runs;
};

struct CrashImage {
  std::vector<std::string> directories;  // parents first
  std::vector<ImageFile> files;

  // Equal images have equal hashes.
  uint64_t Hash() const;
};

enum class VariantKind : uint8_t {
  kNothing,     // only what is durable
  kEverything,  // all that was written or asked for
  kKill,        // the process is killed, the machine goes on: nothing cached is lost
  kSectors,     // the number-th subset of the 512-byte sectors that are not durable
  kBlocks,      // likewise of 4,096-byte blocks
  kRandom,      // by chance, in the number-th way: sectors, a prefix, a suffix, whole writes
};

struct Variant {
  VariantKind kind = VariantKind::kNothing;
  uint64_t number = 0;
  bool operator==(const Variant&) const = default;
};

// "nothing", "everything", "kill", "s5", "b5", "r5".
std::string VariantName(const Variant& variant);
// Errors: kInvalidArgument  no such name
StatusOr<Variant> ParseVariant(std::string_view name);

struct VariantLimits {
  uint64_t subsets_max = 16;  // all subsets are taken where there are not more than this
  uint64_t random_count = 2;
};

// The variants worth trying at this place: subsets of sectors if there are few, else of blocks if
// those are few, else chance alone.
std::vector<Variant> VariantsAt(const DiskReplay& replay, const VariantLimits& limits);

CrashImage MakeCrashImage(const DiskReplay& replay, const Variant& variant, uint64_t seed);

// A disk that holds the image, durably.
sim::SimImage DiskOf(const CrashImage& image);
CrashImage ImageOf(const sim::SimImage& disk);

}  // namespace metastore::crashtest
