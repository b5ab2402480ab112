#include "tools/walinspect/crashtest/crash_image.h"

#include <algorithm>
#include <charconv>

#include "io/base/hash.h"
#include "io/base/limits.h"

namespace metastore::crashtest {
namespace {

constexpr uint64_t kSectorsPerBlock = limits::kBlockBytes / sim::kSectorBytes;

// Bit by bit from one number; names and sizes survive.
class SubsetChoice final : public sim::PowerLossChoice {
 public:
  SubsetChoice(uint64_t subset, uint64_t sectors_per_bit)
      : subset_(subset), sectors_per_bit_(sectors_per_bit) {}

  void StartWrite() override {}
  bool NextSector() override { return (subset_ >> (next_++ / sectors_per_bit_) & 1) == 1; }
  uint64_t OfMetadata(uint64_t count) override { return count; }

 private:
  const uint64_t subset_;
  const uint64_t sectors_per_bit_;
  uint64_t next_ = 0;
};

UnderWay UnderWayOf(VariantKind kind) {
  switch (kind) {
    case VariantKind::kNothing:
    case VariantKind::kKill:
      return UnderWay::kNone;
    case VariantKind::kEverything:
    case VariantKind::kSectors:
    case VariantKind::kBlocks:
      return UnderWay::kAll;
    case VariantKind::kRandom:
      return UnderWay::kSome;
  }
  CHECK_UNREACHABLE();
}

void LosePower(sim::SimImage& disk, const Variant& variant, Prng& prng) {
  static constexpr sim::PowerLossMode kModes[] = {
      sim::PowerLossMode::kSectors, sim::PowerLossMode::kPrefix, sim::PowerLossMode::kSuffix,
      sim::PowerLossMode::kWholeWrites};
  switch (variant.kind) {
    case VariantKind::kNothing:
      return disk.LosePower(sim::PowerLossMode::kNothing, prng);
    case VariantKind::kEverything:
    case VariantKind::kKill:
      return disk.LosePower(sim::PowerLossMode::kEverything, prng);
    case VariantKind::kSectors:
    case VariantKind::kBlocks: {
      const bool blocks = variant.kind == VariantKind::kBlocks;
      SubsetChoice choice(variant.number, blocks ? kSectorsPerBlock : 1);
      return disk.LosePower(choice);
    }
    case VariantKind::kRandom:
      return disk.LosePower(kModes[prng.Below(std::size(kModes))], prng);
  }
}

bool IsZero(std::string_view bytes) { return bytes.find_first_not_of('\0') == bytes.npos; }

ImageFile FileOf(const std::string& path, const sim::Inode& inode) {
  ImageFile file{.path = path, .bytes = inode.cached_size, .runs = {}};
  std::string block(limits::kBlockBytes, '\0');
  for (uint64_t at = 0; at < file.bytes; at += block.size()) {
    const size_t size = sim::SimImage::Read(inode, at, block.data(), block.size());
    const std::string_view bytes(block.data(), size);
    if (IsZero(bytes)) continue;
    if (!file.runs.empty()) {
      auto& [offset, content] = file.runs.back();
      if (offset + content.size() == at) {
        content += bytes;
        continue;
      }
    }
    file.runs.emplace_back(at, bytes);
  }
  return file;
}

void CollectDirectories(const sim::SimImage& disk, const std::string& path,
                        std::vector<std::string>& to) {
  const StatusOr<std::vector<io::DirectoryEntry>> entries = disk.List(path);
  CHECK(entries.ok());
  for (const io::DirectoryEntry& entry : *entries) {
    if (!entry.is_directory) continue;
    to.push_back(path == "/" ? Concat("/", entry.name) : Concat(path, "/", entry.name));
    CollectDirectories(disk, std::string(to.back()), to);
  }
}

}  // namespace

uint64_t CrashImage::Hash() const {
  uint64_t hash = directories.size();
  for (const std::string& directory : directories) hash = Hash64(directory, hash);
  for (const ImageFile& file : files) {
    hash = Hash64(file.path, MixSeed(hash, file.bytes));
    for (const auto& [offset, bytes] : file.runs) hash = Hash64(bytes, MixSeed(hash, offset));
  }
  return hash;
}

std::string VariantName(const Variant& variant) {
  switch (variant.kind) {
    case VariantKind::kNothing:
      return "nothing";
    case VariantKind::kEverything:
      return "everything";
    case VariantKind::kKill:
      return "kill";
    case VariantKind::kSectors:
      return Concat("s", variant.number);
    case VariantKind::kBlocks:
      return Concat("b", variant.number);
    case VariantKind::kRandom:
      return Concat("r", variant.number);
  }
  CHECK_UNREACHABLE();
}

StatusOr<Variant> ParseVariant(std::string_view name) {
  for (const VariantKind kind :
       {VariantKind::kNothing, VariantKind::kEverything, VariantKind::kKill}) {
    if (VariantName({kind}) == name) return Variant{kind};
  }
  for (const VariantKind kind :
       {VariantKind::kSectors, VariantKind::kBlocks, VariantKind::kRandom}) {
    if (name.substr(0, 1) != VariantName({kind}).substr(0, 1)) continue;
    Variant variant{kind};
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + 1, end, variant.number);
    if (parsed.ec == std::errc() && parsed.ptr == end) return variant;
  }
  return InvalidArgumentError("\"", name, "\" names no way to crash");
}

std::vector<Variant> VariantsAt(const DiskReplay& replay, const VariantLimits& limits) {
  Prng unused(0);
  const uint64_t sectors = replay.DiskAtCrash(UnderWay::kAll, unused).PendingSectors();
  std::vector<Variant> variants{
      {VariantKind::kNothing}, {VariantKind::kEverything}, {VariantKind::kKill}};
  const auto all_subsets = [&](VariantKind kind, uint64_t bits) {
    if (bits > 20 || uint64_t{1} << bits > limits.subsets_max) return false;
    // None and all of them have been named.
    for (uint64_t subset = 1; subset + 1 < uint64_t{1} << bits; ++subset) {
      variants.push_back({kind, subset});
    }
    return true;
  };
  if (sectors > 0 && !all_subsets(VariantKind::kSectors, sectors)) {
    all_subsets(VariantKind::kBlocks, (sectors + kSectorsPerBlock - 1) / kSectorsPerBlock);
  }
  for (uint64_t i = 0; i < limits.random_count; ++i) {
    if (sectors > 0 || replay.under_way_count() > 0) {
      variants.push_back({VariantKind::kRandom, i});
    }
  }
  return variants;
}

CrashImage MakeCrashImage(const DiskReplay& replay, const Variant& variant, uint64_t seed) {
  Prng prng(MixSeed(seed, MixSeed(static_cast<uint64_t>(variant.kind), variant.number)));
  sim::SimImage disk = replay.DiskAtCrash(UnderWayOf(variant.kind), prng);
  LosePower(disk, variant, prng);
  return ImageOf(disk);
}

CrashImage ImageOf(const sim::SimImage& disk) {
  CrashImage image;
  CollectDirectories(disk, "/", image.directories);
  for (const std::string& path : disk.Files()) {
    image.files.push_back(FileOf(path, *disk.FindFile(path)));
  }
  return image;
}

sim::SimImage DiskOf(const CrashImage& image) {
  sim::SimImage disk;
  for (const std::string& directory : image.directories) {
    CHECK(disk.MakeDirectories(directory).ok());
  }
  for (const ImageFile& file : image.files) {
    StatusOr<sim::InodeRef> inode = disk.Open(file.path, io::OpenMode::kCreate);
    CHECK(inode.ok());
    disk.Resize(**inode, file.bytes);
    for (const auto& [offset, bytes] : file.runs) {
      disk.Write(**inode, offset, bytes.data(), bytes.size());
    }
  }
  Prng unused(0);
  disk.LosePower(sim::PowerLossMode::kEverything, unused);
  return disk;
}

}  // namespace metastore::crashtest
