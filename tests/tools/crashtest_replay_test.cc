// Aim: at every place of a trace the disk is known: what must survive a crash, what may, what the
// files hold between two lives; and the images made of that are all of the choices and no others.
// Method: small traces made by hand, through DiskReplay and MakeCrashImage.
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "tools/walinspect/crashtest/crash_image.h"
#include "tools/walinspect/crashtest/disk_replay.h"

namespace metastore::crashtest {
namespace {

using io::TraceKind;
using io::TraceOp;
using io::TraceRecord;

constexpr size_t kBlock = limits::kBlockBytes;

// A disk driven by operations of one process, whose data directory is /d.
class ReplayTest : public ::testing::Test {
 protected:
  ReplayTest() { replay_.SetRoot("/d"); }

  uint64_t Begin(TraceRecord record) {
    record.kind = TraceKind::kBegin;
    record.operation = ++operations_;
    if (record.op == TraceOp::kOpen) record.file = record.operation;
    EXPECT_TRUE(replay_.Apply(record).ok());
    return record.operation;
  }
  Status EndWith(uint64_t operation, StatusCode code) {
    return replay_.Apply({.kind = TraceKind::kEnd, .code = code, .operation = operation});
  }
  uint64_t Do(const TraceRecord& record) {
    const uint64_t operation = Begin(record);
    const Status ended = EndWith(operation, StatusCode::kOk);
    EXPECT_TRUE(ended.ok()) << ended;
    return operation;
  }
  // A file of `blocks` blocks, durable with its name.
  uint64_t MakeFile(const std::string& name, uint64_t blocks) {
    const uint64_t file = Create(name);
    Do({.op = TraceOp::kAllocate, .file = file, .size = blocks * kBlock});
    Do({.op = TraceOp::kSync, .file = file});
    Do({.op = TraceOp::kSyncDirectory, .name = "/d"});
    return file;
  }
  uint64_t Create(const std::string& name) {
    return Do({.op = TraceOp::kOpen,
               .mode = static_cast<uint8_t>(io::OpenMode::kCreate),
               .name = Keep("/d/" + name)});
  }
  TraceRecord Write(TraceOp op, uint64_t file, uint64_t block, char fill) {
    return {.op = op,
            .file = file,
            .offset = block * kBlock,
            .size = kBlock,
            .data = Keep(std::string(kBlock, fill))};
  }
  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  // The files of an image: name, size, first byte of each sector.
  static std::string Text(const CrashImage& image) {
    std::string text;
    for (const ImageFile& file : image.files) {
      std::string sectors(file.bytes / sim::kSectorBytes, '.');
      for (const auto& [offset, bytes] : file.runs) {
        for (size_t at = 0; at < bytes.size(); at += sim::kSectorBytes) {
          if (bytes[at] != 0) sectors[(offset + at) / sim::kSectorBytes] = bytes[at];
        }
      }
      text += Concat(text.empty() ? "" : " ", file.path, ":", sectors);
    }
    return text;
  }
  std::string Image(VariantKind kind, uint64_t number = 0) const {
    return Text(MakeCrashImage(replay_, {kind, number}, 1));
  }
  Status Tell(Note note, std::string_view name = "", uint64_t size = 0,
              std::string_view data = "") {
    TraceRecord record = MakeNote(note, {});
    record.name = name;
    record.size = size;
    record.data = data;
    return replay_.Apply(record);
  }

  DiskReplay replay_;
  uint64_t operations_ = 0;
  std::deque<std::string> texts_;
};

TEST_F(ReplayTest, ADurableWriteSurvivesOnceItHasEndedAndNotBefore) {
  const uint64_t file = MakeFile("f", 1);
  const uint64_t write = Begin(Write(TraceOp::kDurableWrite, file, 0, 'x'));
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:........");
  EXPECT_EQ(Image(VariantKind::kKill), "/f:........");
  EXPECT_EQ(Image(VariantKind::kEverything), "/f:xxxxxxxx");
  EXPECT_EQ(Image(VariantKind::kSectors, 0b10000101), "/f:x.x....x");
  EXPECT_TRUE(EndWith(write, StatusCode::kOk).ok());
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:xxxxxxxx");
}

TEST_F(ReplayTest, APlainWriteNeedsASyncThatBeganAfterItsEnd) {
  const uint64_t file = MakeFile("f", 1);
  const uint64_t write = Begin(Write(TraceOp::kWrite, file, 0, 'x'));
  const uint64_t early = Begin({.op = TraceOp::kSync, .file = file});
  EXPECT_TRUE(EndWith(write, StatusCode::kOk).ok());
  EXPECT_TRUE(EndWith(early, StatusCode::kOk).ok());
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:........");
  EXPECT_EQ(Image(VariantKind::kKill), "/f:xxxxxxxx");
  Do({.op = TraceOp::kSync, .file = file});
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:xxxxxxxx");
}

TEST_F(ReplayTest, ANameNeedsItsDirectorySynced) {
  const uint64_t file = Create("f");
  Do({.op = TraceOp::kAllocate, .file = file, .size = kBlock});
  Do({.op = TraceOp::kSync, .file = file});
  EXPECT_EQ(Image(VariantKind::kNothing), "");
  EXPECT_EQ(Image(VariantKind::kEverything), "/f:........");
  Do({.op = TraceOp::kSyncDirectory, .name = "/d"});
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:........");
  Do({.op = TraceOp::kRemove, .name = "/d/f"});
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:........");
  EXPECT_EQ(Image(VariantKind::kKill), "");
}

TEST_F(ReplayTest, OverlappingOperationsEndInTheirOwnOrder) {
  const uint64_t file = MakeFile("f", 2);
  const uint64_t first = Begin(Write(TraceOp::kDurableWrite, file, 0, 'a'));
  const uint64_t second = Begin(Write(TraceOp::kDurableWrite, file, 1, 'b'));
  EXPECT_TRUE(EndWith(second, StatusCode::kOk).ok());
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:........bbbbbbbb");
  EXPECT_EQ(Image(VariantKind::kBlocks, 0), "/f:........bbbbbbbb");
  EXPECT_EQ(Image(VariantKind::kBlocks, 1), "/f:aaaaaaaabbbbbbbb");
  EXPECT_TRUE(EndWith(first, StatusCode::kOk).ok());
  EXPECT_EQ(replay_.under_way_count(), 0u);
}

TEST_F(ReplayTest, SubsetsAreTriedOfSectorsOrElseOfBlocks) {
  const uint64_t file = MakeFile("f", 2);
  Begin(Write(TraceOp::kDurableWrite, file, 0, 'a'));
  Begin(Write(TraceOp::kDurableWrite, file, 1, 'b'));
  const auto images = [this](uint64_t subsets_max) {
    std::set<std::string> texts;
    for (const Variant& variant :
         VariantsAt(replay_, {.subsets_max = subsets_max, .random_count = 0})) {
      EXPECT_EQ(ParseVariant(VariantName(variant)).value(), variant);
      texts.insert(Text(MakeCrashImage(replay_, variant, 1)));
    }
    return texts;
  };
  EXPECT_EQ(images(3).size(), 2u);
  EXPECT_EQ(images(4), (std::set<std::string>{"/f:................", "/f:aaaaaaaa........",
                                              "/f:........bbbbbbbb", "/f:aaaaaaaabbbbbbbb"}));
}

TEST_F(ReplayTest, EverySubsetOfAFewSectorsIsAnImage) {
  Begin(Write(TraceOp::kDurableWrite, MakeFile("f", 1), 0, 'a'));
  std::set<std::string> texts;
  for (const Variant& variant : VariantsAt(replay_, {.subsets_max = 256, .random_count = 0})) {
    texts.insert(Text(MakeCrashImage(replay_, variant, 1)));
  }
  EXPECT_EQ(texts.size(), 256u);
}

TEST_F(ReplayTest, ARandomImageIsDecidedByItsSeed) {
  const uint64_t file = MakeFile("f", 2);
  Begin(Write(TraceOp::kDurableWrite, file, 0, 'a'));
  Begin(Write(TraceOp::kWrite, file, 1, 'b'));
  std::set<std::string> texts;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Variant variant{VariantKind::kRandom, seed % 3};
    const CrashImage image = MakeCrashImage(replay_, variant, seed);
    EXPECT_EQ(image.Hash(), MakeCrashImage(replay_, variant, seed).Hash());
    texts.insert(Text(image));
  }
  EXPECT_GT(texts.size(), 10u);
}

TEST_F(ReplayTest, AnImageIsADiskOfWhichAllIsDurable) {
  Do({.op = TraceOp::kMakeDirectories, .name = "/d/a/b"});
  Do(Write(TraceOp::kDurableWrite, MakeFile("f", 3), 1, 'x'));
  const CrashImage image = MakeCrashImage(replay_, {VariantKind::kKill}, 1);
  EXPECT_EQ(image.directories, (std::vector<std::string>{"/a", "/a/b"}));
  DiskReplay again(DiskOf(image));
  EXPECT_EQ(MakeCrashImage(again, {VariantKind::kNothing}, 1).Hash(), image.Hash());
}

TEST_F(ReplayTest, BetweenLivesTheFilesSayWhatBecameOfWhatWasUnderWay) {
  const uint64_t file = MakeFile("f", 2);
  Begin(Write(TraceOp::kDurableWrite, file, 0, 'a'));
  Begin(
      {.op = TraceOp::kOpen, .mode = static_cast<uint8_t>(io::OpenMode::kCreate), .name = "/d/g"});
  Begin({.op = TraceOp::kRemove, .name = "/d/f"});
  EXPECT_TRUE(Tell(Note::kEnded).ok());
  EXPECT_TRUE(Tell(Note::kFile, "/f", 2 * kBlock).ok());
  EXPECT_TRUE(Tell(Note::kBytes, "", 0, Keep(std::string(kBlock / 2, 'a'))).ok());
  EXPECT_TRUE(Tell(Note::kFile, "/g", 0).ok());
  const Status listed = Tell(Note::kListed);
  EXPECT_TRUE(listed.ok()) << listed;
  EXPECT_EQ(replay_.under_way_count(), 0u);
  EXPECT_EQ(Image(VariantKind::kKill), "/f:aaaa............ /g:");
  EXPECT_EQ(Image(VariantKind::kNothing), "/f:................");
}

TEST_F(ReplayTest, WhatTheTraceDoesNotExplainIsAnError) {
  MakeFile("f", 1);
  const struct {
    std::string_view name;
    uint64_t size;
    std::string_view bytes;
    const char* wrong;
  } cases[] = {{"/f", kBlock, "x", "the trace does not explain /f at offset 0"},
               {"/f", 2 * kBlock, "", "the trace does not explain the size of /f: 8192 bytes"},
               {"/g", 0, "", "the trace has /f, the disk has not"}};
  for (const auto& one : cases) {
    EXPECT_TRUE(Tell(Note::kEnded).ok());
    EXPECT_TRUE(Tell(Note::kFile, one.name, one.size).ok());
    if (!one.bytes.empty()) EXPECT_TRUE(Tell(Note::kBytes, "", 0, one.bytes).ok());
    const Status listed = Tell(Note::kListed);
    EXPECT_TRUE(absl::IsDataLoss(listed));
    EXPECT_TRUE(StdView(listed.message()).starts_with(one.wrong)) << listed;
  }
}

TEST_F(ReplayTest, AFailedWriteEndsTheTrust) {
  const uint64_t file = MakeFile("f", 1);
  const uint64_t write = Begin(Write(TraceOp::kWrite, file, 0, 'x'));
  EXPECT_TRUE(absl::IsFailedPrecondition(EndWith(write, StatusCode::kDataLoss)));
  EXPECT_TRUE(absl::IsDataLoss(EndWith(99, StatusCode::kOk)));
  const uint64_t create = Begin(
      {.op = TraceOp::kOpen, .mode = static_cast<uint8_t>(io::OpenMode::kCreate), .name = "/d/f"});
  EXPECT_TRUE(EndWith(create, StatusCode::kAlreadyExists).ok());
}

}  // namespace
}  // namespace metastore::crashtest
