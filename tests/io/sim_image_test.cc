// Aim: what a simulated disk holds, durable and not. Method: single cases for each rule, and
// random histories checked against a model that knows, for each sector, every content a power
// loss may leave.
#include "io/sim/sim_image.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace metastore::sim {
namespace {

constexpr PowerLossMode kModes[] = {PowerLossMode::kSectors, PowerLossMode::kPrefix,
                                    PowerLossMode::kSuffix,  PowerLossMode::kWholeWrites,
                                    PowerLossMode::kNothing, PowerLossMode::kEverything};

std::string Sectors(size_t count, char fill) { return std::string(count * kSectorBytes, fill); }

void Write(SimImage& image, Inode& file, uint64_t sector, const std::string& bytes) {
  image.Write(file, sector * kSectorBytes, bytes.data(), bytes.size());
}

void WriteDurably(SimImage& image, Inode& file, uint64_t sector, const std::string& bytes) {
  image.WriteDurably(file, sector * kSectorBytes, bytes.data(), bytes.size());
}

std::string ReadAll(const Inode& file) {
  std::string bytes(static_cast<size_t>(file.cached_size), '?');
  bytes.resize(SimImage::Read(file, 0, bytes.data(), bytes.size()));
  return bytes;
}

InodeRef CreateDurably(SimImage& image, std::string_view path) {
  StatusOr<InodeRef> file = image.Open(path, io::OpenMode::kCreate);
  CHECK(file.ok());
  SimImage::SyncNames(**image.FindDirectory("/"), image.order());
  return *file;
}

// First byte of each sector of the file at `path`.
std::string Fills(const SimImage& image, std::string_view path) {
  const InodeRef file = image.FindFile(path);
  if (file == nullptr) return "no file";
  const std::string bytes = ReadAll(*file);
  std::string fills;
  for (size_t at = 0; at < bytes.size(); at += kSectorBytes) fills += bytes[at];
  return fills;
}

TEST(SimImageTest, PathsAreMadeNormal) {
  EXPECT_EQ(NormalPath(""), "/");
  EXPECT_EQ(NormalPath("/"), "/");
  EXPECT_EQ(NormalPath("a/b"), "/a/b");
  EXPECT_EQ(NormalPath("//a//./b/"), "/a/b");
  EXPECT_EQ(NormalPath("/a/../b"), "/b");
  EXPECT_EQ(NormalPath("/../.."), "/");
}

TEST(SparseBytesTest, CopiesShareUntilWrittenAndZerosTakeNoMemory) {
  SparseBytes first;
  first.Write(0, nullptr, 64 << 20);
  EXPECT_EQ(first.chunk_bytes(), 0u);
  const std::string bytes(3000, 'a');
  first.Write(SparseBytes::kChunkBytes - 1000, bytes.data(), bytes.size());
  EXPECT_EQ(first.chunk_bytes(), 2 * SparseBytes::kChunkBytes);
  SparseBytes second = first;
  second.Write(SparseBytes::kChunkBytes - 1000, nullptr, 10);
  std::string read(3002, '?');
  first.Read(SparseBytes::kChunkBytes - 1001, read.data(), read.size());
  EXPECT_EQ(read, std::string(1, '\0') + bytes + std::string(1, '\0'));
  second.Read(SparseBytes::kChunkBytes - 1000, read.data(), 11);
  EXPECT_EQ(read.substr(0, 11), std::string(10, '\0') + "a");
  first.Truncate(SparseBytes::kChunkBytes - 999);
  EXPECT_EQ(first.chunk_bytes(), SparseBytes::kChunkBytes);
  first.Read(SparseBytes::kChunkBytes - 1000, read.data(), 3);
  EXPECT_EQ(read.substr(0, 3), std::string("a\0\0", 3));
  second.Write(0, nullptr, SparseBytes::kChunkBytes);
  EXPECT_EQ(second.chunk_bytes(), SparseBytes::kChunkBytes);
}

// --- names -------------------------------------------------------------------------------------

TEST(SimImageTest, NamesGiveTheErrorsOfTheContract) {
  SimImage image;
  EXPECT_EQ(image.Open("/f", io::OpenMode::kRead).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(image.Open("/d/f", io::OpenMode::kCreate).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(image.MakeDirectories("/d/e").ok());
  ASSERT_TRUE(image.MakeDirectories("/d/e").ok());
  ASSERT_TRUE(image.Open("/d/f", io::OpenMode::kCreate).ok());
  EXPECT_EQ(image.Open("/d/f", io::OpenMode::kCreate).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(image.Open("/d/e", io::OpenMode::kRead).status().code(), StatusCode::kInternal);
  EXPECT_EQ(image.MakeDirectories("/d/f/g").code(), StatusCode::kInternal);
  EXPECT_EQ(image.Remove("/d/x").code(), StatusCode::kNotFound);
  EXPECT_EQ(image.Remove("/d/e").code(), StatusCode::kInternal);
  EXPECT_EQ(image.List("/x").status().code(), StatusCode::kNotFound);
  const StatusOr<std::vector<io::DirectoryEntry>> entries = image.List("/d");
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].name, "e");
  EXPECT_TRUE((*entries)[0].is_directory);
  EXPECT_EQ((*entries)[1].name, "f");
  EXPECT_EQ(image.Files(), std::vector<std::string>{"/d/f"});
  EXPECT_TRUE(image.Remove("/d/f").ok());
  EXPECT_EQ(image.FindFile("/d/f"), nullptr);
}

TEST(SimImageTest, ANameIsDurableOnlyAfterItsDirectoryWasSynced) {
  SimImage image;
  Prng prng(1);
  ASSERT_TRUE(image.Open("/early", io::OpenMode::kCreate).ok());
  SimImage::SyncNames(**image.FindDirectory("/"), image.order());
  ASSERT_TRUE(image.Open("/late", io::OpenMode::kCreate).ok());
  ASSERT_TRUE(image.Remove("/early").ok());
  SimImage nothing = image.Clone();
  nothing.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(nothing.Files(), std::vector<std::string>{"/early"});
  SimImage everything = image.Clone();
  everything.LosePower(PowerLossMode::kEverything, prng);
  EXPECT_EQ(everything.Files(), std::vector<std::string>{"/late"});
  std::set<std::vector<std::string>> outcomes;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Prng own(seed);
    SimImage clone = image.Clone();
    clone.LosePower(PowerLossMode::kSectors, own);
    outcomes.insert(clone.Files());
  }
  EXPECT_EQ(outcomes.size(), 4u);  // both, either, none
  SimImage::SyncNames(**image.FindDirectory("/"), image.order());
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(image.Files(), std::vector<std::string>{"/late"});
}

TEST(SimImageTest, ASyncOfNamesCoversOnlyWhatWasBeforeIt) {
  SimImage image;
  Prng prng(1);
  ASSERT_TRUE(image.Open("/a", io::OpenMode::kCreate).ok());
  const uint64_t order = image.order();
  ASSERT_TRUE(image.Open("/b", io::OpenMode::kCreate).ok());
  SimImage::SyncNames(**image.FindDirectory("/"), order);
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(image.Files(), std::vector<std::string>{"/a"});
}

// --- content -----------------------------------------------------------------------------------

TEST(SimImageTest, ASyncCoversOnlyWhatWasBeforeIt) {
  SimImage image;
  Prng prng(1);
  const InodeRef file = CreateDurably(image, "/f");
  Write(image, *file, 0, Sectors(4, 'a'));
  const uint64_t order = image.order();
  Write(image, *file, 2, Sectors(4, 'b'));
  SimImage::Sync(*file, order);
  EXPECT_EQ(Fills(image, "/f"), "aabbbb");
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(Fills(image, "/f"), "aaaa");
}

TEST(SimImageTest, ADurableWriteCoversItsOwnSectorsOnly) {
  SimImage image;
  Prng prng(1);
  const InodeRef file = CreateDurably(image, "/f");
  image.Resize(*file, 8 * kSectorBytes);
  SimImage::Sync(*file, image.order());
  Write(image, *file, 0, Sectors(4, 'a'));
  WriteDurably(image, *file, 2, Sectors(4, 'b'));
  EXPECT_EQ(Fills(image, "/f"), std::string("aabbbb\0\0", 8));
  SimImage clone = image.Clone();
  clone.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(Fills(clone, "/f"), std::string("\0\0bbbb\0\0", 8));
  // The older pending write never comes back over it.
  for (const PowerLossMode mode : kModes) {
    SimImage other = image.Clone();
    other.LosePower(mode, prng);
    EXPECT_EQ(Fills(other, "/f").substr(2, 4), "bbbb");
  }
  SimImage::Sync(*file, image.order());
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(Fills(image, "/f"), std::string("aabbbb\0\0", 8));
}

TEST(SimImageTest, ADurableWriteBeyondTheEndCarriesTheSize) {
  SimImage image;
  Prng prng(1);
  const InodeRef file = CreateDurably(image, "/f");
  image.Resize(*file, 64 * kSectorBytes);
  WriteDurably(image, *file, 2, Sectors(1, 'b'));
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_GE(Fills(image, "/f").size(), 3u);
  EXPECT_EQ(Fills(image, "/f")[2], 'b');
}

TEST(SimImageTest, AnUnsyncedSizeMayBeLost) {
  std::set<size_t> sizes;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimImage image;
    Prng prng(seed);
    const InodeRef file = CreateDurably(image, "/f");
    image.Resize(*file, 8 * kSectorBytes);
    SimImage::Sync(*file, image.order());
    Write(image, *file, 8, Sectors(2, 'a'));
    image.LosePower(PowerLossMode::kSectors, prng);
    sizes.insert(Fills(image, "/f").size());
  }
  EXPECT_EQ(sizes, (std::set<size_t>{8, 9, 10}));
}

TEST(SimImageTest, ATruncatedEndNeverComesBack) {
  SimImage image;
  Prng prng(1);
  const InodeRef file = CreateDurably(image, "/f");
  Write(image, *file, 0, Sectors(8, 'a'));
  image.Resize(*file, 2 * kSectorBytes);
  image.Resize(*file, 8 * kSectorBytes);
  const std::string expected = "aa" + std::string(6, '\0');
  EXPECT_EQ(Fills(image, "/f"), expected);
  WriteDurably(image, *file, 7, Sectors(1, 'b'));
  SimImage::Sync(*file, image.order());
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(Fills(image, "/f"), expected.substr(0, 7) + "b");
}

TEST(SimImageTest, AFailedSyncLeavesCleanPagesAndLostData) {
  SimImage image;
  Prng prng(5);
  const InodeRef file = CreateDurably(image, "/f");
  Write(image, *file, 0, Sectors(64, 'a'));
  SimImage::SyncFailed(*file, image.order(), prng);
  EXPECT_EQ(Fills(image, "/f"), std::string(64, 'a'));  // reads still see it
  SimImage::Sync(*file, image.order());                 // and this finds nothing to do
  image.LosePower(PowerLossMode::kEverything, prng);
  const std::string fills = Fills(image, "/f");
  EXPECT_NE(fills.find('\0'), std::string::npos);
  EXPECT_NE(fills.find('a'), std::string::npos);
}

TEST(SimImageTest, ModesOfPowerLossLeaveWhatTheirNamesSay) {
  SimImage image;
  const InodeRef file = CreateDurably(image, "/f");
  image.Resize(*file, 32 * kSectorBytes);
  SimImage::Sync(*file, image.order());
  for (uint64_t i = 0; i < 4; ++i)
    Write(image, *file, i * 8, Sectors(8, static_cast<char>('a' + i)));
  const std::string all = Fills(image, "/f");
  std::map<PowerLossMode, std::set<std::string>> outcomes;
  for (const PowerLossMode mode : kModes) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
      Prng prng(seed);
      SimImage clone = image.Clone();
      clone.LosePower(mode, prng);
      outcomes[mode].insert(Fills(clone, "/f"));
    }
  }
  EXPECT_EQ(outcomes[PowerLossMode::kNothing], std::set<std::string>{std::string(32, '\0')});
  EXPECT_EQ(outcomes[PowerLossMode::kEverything], std::set<std::string>{all});
  for (const std::string& fills : outcomes[PowerLossMode::kPrefix]) {
    const size_t cut = std::min(fills.find('\0'), size_t{32});
    EXPECT_EQ(fills, all.substr(0, cut) + std::string(32 - cut, '\0'));
  }
  for (const std::string& fills : outcomes[PowerLossMode::kSuffix]) {
    const size_t cut = std::min(fills.find_first_not_of('\0'), size_t{32});
    EXPECT_EQ(fills, std::string(cut, '\0') + all.substr(cut));
  }
  for (const std::string& fills : outcomes[PowerLossMode::kWholeWrites]) {
    for (size_t i = 0; i < 32; i += 8) EXPECT_EQ(fills.substr(i, 8), std::string(8, fills[i]));
  }
  EXPECT_GT(outcomes[PowerLossMode::kPrefix].size(), 10u);
  EXPECT_GT(outcomes[PowerLossMode::kSuffix].size(), 10u);
  EXPECT_EQ(outcomes[PowerLossMode::kWholeWrites].size(), 16u);
  EXPECT_EQ(outcomes[PowerLossMode::kSectors].size(), 60u);
}

TEST(SimImageTest, ACloneIsEqualAndIndependent) {
  SimImage image;
  Prng prng(1);
  const InodeRef file = CreateDurably(image, "/f");
  WriteDurably(image, *file, 0, Sectors(2, 'a'));
  Write(image, *file, 1, Sectors(2, 'b'));
  ASSERT_TRUE(image.Open("/g", io::OpenMode::kCreate).ok());
  SimImage clone = image.Clone();
  WriteDurably(image, *file, 0, Sectors(4, 'c'));
  EXPECT_EQ(Fills(clone, "/f"), "abb");
  EXPECT_EQ(clone.FindById(file->id), clone.FindFile("/f"));
  EXPECT_EQ(clone.FindById(9999), nullptr);
  SimImage second = clone.Clone();
  second.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(Fills(second, "/f"), "aa");
  EXPECT_EQ(second.Files(), std::vector<std::string>{"/f"});
  clone.LosePower(PowerLossMode::kEverything, prng);
  EXPECT_EQ(Fills(clone, "/f"), "abb");
  EXPECT_EQ(clone.Files(), (std::vector<std::string>{"/f", "/g"}));
}

TEST(SimImageTest, AFlippedBitShowsInReadsAndAfterAPowerLoss) {
  SimImage image;
  Prng prng(1);
  const InodeRef file = CreateDurably(image, "/f");
  WriteDurably(image, *file, 0, Sectors(1, 'a'));
  SimImage::FlipBit(*file, 17, 1);
  EXPECT_EQ(ReadAll(*file)[17], 'c');
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(ReadAll(*file)[17], 'c');
}

// The contract, against a model: for each sector, the contents it may have after a power loss.
class Model {
 public:
  static constexpr size_t kSectors = 64;
  Model() : allowed_(kSectors, {'\0'}), cached_(kSectors, '\0') {}

  void Write(size_t first, size_t count, char fill) {
    for (size_t s = first; s < first + count; ++s) {
      allowed_[s].insert(fill);
      cached_[s] = fill;
    }
  }
  void WriteDurably(size_t first, size_t count, char fill) {
    for (size_t s = first; s < first + count; ++s) {
      allowed_[s] = {fill};
      cached_[s] = fill;
    }
  }
  void Sync() {
    for (size_t s = 0; s < kSectors; ++s) allowed_[s] = {cached_[s]};
  }
  // What is there now is what a power loss has chosen.
  void Restart(const std::string& fills) {
    for (size_t s = 0; s < kSectors; ++s) {
      EXPECT_TRUE(allowed_[s].contains(fills[s])) << "sector " << s;
      cached_[s] = fills[s];
    }
    Sync();
  }
  const std::string& cached() const { return cached_; }

 private:
  std::vector<std::set<char>> allowed_;
  std::string cached_;
};

TEST(SimImageTest, RandomHistoriesKeepTheContract) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    SimImage image;
    InodeRef file = CreateDurably(image, "/f");
    image.Resize(*file, Model::kSectors * kSectorBytes);
    SimImage::Sync(*file, image.order());
    Model model;
    for (int step = 0; step < 60; ++step) {
      const auto first = static_cast<size_t>(prng.Below(Model::kSectors));
      const auto count = static_cast<size_t>(prng.Between(1, Model::kSectors - first));
      const char fill = static_cast<char>('a' + prng.Below(26));
      const uint64_t choice = prng.Below(20);
      if (choice < 10) {
        Write(image, *file, first, Sectors(count, fill));
        model.Write(first, count, fill);
      } else if (choice < 17) {
        WriteDurably(image, *file, first, Sectors(count, fill));
        model.WriteDurably(first, count, fill);
      } else if (choice < 19) {
        SimImage::Sync(*file, image.order());
        model.Sync();
      } else {
        image.LosePower(kModes[prng.Below(kPowerLossModes)], prng);
        file = image.FindFile("/f");
        model.Restart(Fills(image, "/f"));
      }
      ASSERT_EQ(Fills(image, "/f"), model.cached());
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace metastore::sim
