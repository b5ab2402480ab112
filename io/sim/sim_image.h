// SimImage: everything one simulated disk holds, as a pure value without time: a tree of
// directories and files, each with what a read sees now (cached) and what would survive a power
// loss (durable), and the changes in between.
//
// Invariants
//  1. cached = durable plus all pending changes in order.
//  2. A change leaves the pending list only by being made durable, by being superseded by a
//     durable write of the same sectors, or by a failed Sync.
//  3. Names become durable by SyncNames of their directory only; data and size by Sync or a
//     durable write only.
// Paths are absolute and normal (NormalPath). Errors are those of io/file.h; there is no lack
// of space here.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/prng.h"
#include "io/base/status.h"
#include "io/runtime.h"
#include "io/sim/sparse_bytes.h"

namespace metastore::sim {

inline constexpr size_t kSectorBytes = 512;  // written atomically

// Which pending changes survive a power loss. Names and sizes survive as a random prefix of
// their history, except with kNothing and kEverything.
enum class PowerLossMode : uint8_t {
  kSectors,      // each pending sector on its own
  kPrefix,       // all up to one point in the order of completion
  kSuffix,       // all from one point on: reordered
  kWholeWrites,  // each write whole or not at all
  kNothing,
  kEverything,
};
inline constexpr uint64_t kPowerLossModes = 6;

// Decides what a power loss leaves of the pending changes. The image asks in this order: sizes by
// file; then, in the order of completion, each write and its sectors; sizes that writes have set;
// names.
class PowerLossChoice {
 public:
  virtual ~PowerLossChoice() = default;
  // A pending write comes; NextSector follows for each of its sectors.
  virtual void StartWrite() = 0;
  virtual bool NextSector() = 0;
  // How many of `count` changes of a size or a name survive: the first ones, journals being
  // ordered.
  virtual uint64_t OfMetadata(uint64_t count) = 0;
};

// "/" joined parts without empty ones, "." and trailing slash; relative paths are below "/".
std::string NormalPath(std::string_view path);

// One completed change of a file that is not durable yet.
struct PendingChange {
  uint64_t order = 0;
  bool is_resize = false;
  uint64_t offset = 0;            // a resize: unused
  uint64_t size = 0;              // bytes written; a resize: the new size
  std::unique_ptr<char[]> bytes;  // null: zeros
  std::vector<bool> superseded;   // by sector; empty: none
};

struct NameChange;

struct Inode {
  uint64_t id = 0;
  bool is_directory = false;
  // A file.
  SparseBytes cached;
  SparseBytes durable;
  uint64_t cached_size = 0;
  uint64_t durable_size = 0;
  uint64_t allocated = 0;  // bytes it takes of the disk's capacity
  std::vector<PendingChange> pending;
  std::set<uint64_t> bad_sectors;  // by number; reading one fails until it is written
  // A directory.
  std::map<std::string, std::shared_ptr<Inode>, std::less<>> cached_names;
  std::map<std::string, std::shared_ptr<Inode>, std::less<>> durable_names;
  std::vector<NameChange> pending_names;
};
using InodeRef = std::shared_ptr<Inode>;

struct NameChange {
  uint64_t order = 0;
  std::string name;
  InodeRef inode;  // null: removed
};

class SimImage final {
 public:
  SimImage();
  SimImage(SimImage&&) = default;
  SimImage& operator=(SimImage&&) = default;

  // An equal image that shares unwritten chunks. Files that have no name left, cached or
  // durable, are not in it.
  SimImage Clone() const;

  // --- names -----------------------------------------------------------------------------------
  StatusOr<InodeRef> Open(std::string_view path, io::OpenMode mode);
  Status Remove(std::string_view path);
  StatusOr<std::vector<io::DirectoryEntry>> List(std::string_view path) const;
  // Durable at once.
  Status MakeDirectories(std::string_view path);
  // Durable at once. The parent is the same.
  Status RenameDirectory(std::string_view from, std::string_view to);
  StatusOr<InodeRef> FindDirectory(std::string_view path) const;
  // Creations and removals made before `order` become durable.
  static void SyncNames(Inode& directory, uint64_t order);
  // Paths of all files, cached names, sorted.
  std::vector<std::string> Files() const;
  // Null if there is none.
  InodeRef FindFile(std::string_view path) const;

  // --- content ---------------------------------------------------------------------------------
  // The position in the order of changes: later changes have this or more.
  uint64_t order() const { return order_; }
  // Bytes read; fewer at the end of the file.
  static size_t Read(const Inode& file, uint64_t offset, char* to, size_t size);
  // Whole sectors (CHECKed, as of a size); a null `from` writes zeros.
  void Write(Inode& file, uint64_t offset, const char* from, size_t size);
  // Write, and these sectors are durable at once, with the file's size and its earlier resizes.
  void WriteDurably(Inode& file, uint64_t offset, const char* from, size_t size);
  void Resize(Inode& file, uint64_t size);
  // Changes made before `order` become durable.
  static void Sync(Inode& file, uint64_t order);
  // Those changes are forgotten: a random half of their sectors never becomes durable, though
  // reads go on seeing it.
  static void SyncFailed(Inode& file, uint64_t order, Prng& prng);
  // Flips one bit of what is cached and durable.
  static void FlipBit(Inode& file, uint64_t offset, unsigned bit);

  // What is cached becomes what is durable, and of the pending changes what `mode` and `prng`
  // choose.
  void LosePower(PowerLossMode mode, Prng& prng);
  void LosePower(PowerLossChoice& choice);
  // Of the pending writes, superseded ones included: as many as LosePower asks about.
  uint64_t PendingSectors() const;

  // The same inode in this clone of the image `inode` lives in; null if it is not in it.
  InodeRef FindById(uint64_t id) const;
  // Sum of what the named files take, in bytes.
  uint64_t AllocatedBytes() const;

 private:
  StatusOr<InodeRef> ParentOf(std::string_view path, std::string* name) const;
  InodeRef NewInode(bool is_directory);
  template <typename Visit>
  void VisitAll(const Visit& visit) const;

  InodeRef root_;
  uint64_t order_ = 1;
  uint64_t next_id_ = 1;
};

}  // namespace metastore::sim
