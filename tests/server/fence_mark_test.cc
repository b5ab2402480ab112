// Aim: a fence mark outlives power loss, is read back, and fences even where it cannot be read.
// Method: a simulated disk, its file damaged.

#include "server/fence_mark.h"

#include <gtest/gtest.h>

#include "io/base/limits.h"
#include "io/sim/sim_world.h"

namespace metastore::server {
namespace {

constexpr const char* kData = "/data";

class FenceMarkTest : public testing::Test {
 protected:
  FenceMarkTest() : machine_(world_.AddMachine("a")) {
    runtime_ = machine_.StartProcess()[0];
    EXPECT_EQ(world_.Await(*runtime_, runtime_->MakeDirectories("/data/member")), OkStatus());
  }
  ~FenceMarkTest() override { machine_.EndProcess(); }

  Status Write(std::string why) {
    return world_.Await(*runtime_, WriteFenceMark(*runtime_, kData, std::move(why)));
  }
  StatusOr<std::string> Read() { return world_.Await(*runtime_, ReadFenceMark(*runtime_, kData)); }
  io::Task<Status> Damage(char first) {
    StatusOr<std::unique_ptr<io::File>> file =
        co_await runtime_->OpenFile(FenceMarkPath(kData), io::OpenMode::kReadWrite);
    MS_CO_RETURN_IF_ERROR(file.status());
    io::IoBuffer block = runtime_->AllocateBuffer(limits::kBlockBytes);
    std::fill_n(block.data(), limits::kBlockBytes, first);
    StatusOr<size_t> written =
        co_await (*file)->Write(0, {block.data(), limits::kBlockBytes}, block.registered_index());
    co_return written.status();
  }

  io::Task<StatusOr<std::string>> ReadBlock() {
    StatusOr<std::unique_ptr<io::File>> file =
        co_await runtime_->OpenFile("/data/member/fenced", io::OpenMode::kRead);
    MS_CO_RETURN_IF_ERROR(file.status());
    io::IoBuffer block = runtime_->AllocateBuffer(limits::kBlockBytes);
    StatusOr<size_t> read =
        co_await (*file)->Read(0, {block.data(), limits::kBlockBytes}, block.registered_index());
    MS_CO_RETURN_IF_ERROR(read.status());
    co_return std::string(block.view().substr(0, *read));
  }

  sim::SimWorld world_{1};
  sim::SimMachine& machine_;
  io::Runtime* runtime_ = nullptr;
};

TEST_F(FenceMarkTest, NoneIsNone) {
  const StatusOr<std::string> why = Read();
  ASSERT_TRUE(why.ok()) << why.status();
  EXPECT_EQ(*why, "");
}

TEST_F(FenceMarkTest, OutlivesPowerLoss) {
  ASSERT_EQ(Write("first"), OkStatus());
  ASSERT_EQ(Write("revisions 1 to 40 differ"), OkStatus()) << "again is well";
  machine_.PowerLoss();
  machine_.DrainDead();
  machine_.EndProcess();
  runtime_ = machine_.StartProcess()[0];
  const StatusOr<std::string> why = Read();
  ASSERT_TRUE(why.ok()) << why.status();
  EXPECT_EQ(*why, "revisions 1 to 40 differ");
}

TEST_F(FenceMarkTest, TheFormatStaysAsItIs) {
  ASSERT_EQ(Write("why"), OkStatus());
  const StatusOr<std::string> block = world_.Await(*runtime_, ReadBlock());
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(*block, "MetaStore fence mark 1\nwhy" + std::string(limits::kBlockBytes - 26, '\n'));
}

TEST_F(FenceMarkTest, OneThatCannotBeReadFences) {
  ASSERT_EQ(Write("why"), OkStatus());
  for (const char damage : {'\0', '\n', 'x'}) {
    ASSERT_EQ(world_.Await(*runtime_, Damage(damage)), OkStatus());
    const StatusOr<std::string> why = Read();
    ASSERT_TRUE(why.ok());
    EXPECT_EQ(*why, "its fence mark cannot be read");
  }
}

TEST_F(FenceMarkTest, LongReasonsAreCut) {
  ASSERT_EQ(Write(std::string(3 * limits::kBlockBytes, 'y')), OkStatus());
  const StatusOr<std::string> why = Read();
  ASSERT_TRUE(why.ok());
  EXPECT_GT(why->size(), limits::kBlockBytes - 100);
  EXPECT_LT(why->size(), limits::kBlockBytes);
}

TEST_F(FenceMarkTest, AFullDiskIsSaid) {
  machine_.disk().options().capacity_bytes = machine_.disk().used_bytes();
  EXPECT_EQ(Write("why").code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace metastore::server
