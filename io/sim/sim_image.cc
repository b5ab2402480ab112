#include "io/sim/sim_image.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace metastore::sim {
namespace {

uint64_t SectorsOf(uint64_t bytes) { return bytes / kSectorBytes; }

// Makes `size` bytes of `change` from its byte `from` on durable.
void MakeDurable(Inode& file, const PendingChange& change, uint64_t from, uint64_t size) {
  const char* bytes = change.bytes == nullptr ? nullptr : change.bytes.get() + from;
  file.durable.Write(change.offset + from, bytes, static_cast<size_t>(size));
}

void ResizeDurable(Inode& file, uint64_t size) {
  if (size < file.durable_size) file.durable.Truncate(size);
  file.durable_size = size;
}

// Makes the sectors durable that `keep(sector)` chooses; gives the end of the last one, 0 for
// none.
template <typename Keep>
uint64_t MakeSectorsDurable(Inode& file, const PendingChange& change, const Keep& keep) {
  uint64_t end = 0;
  for (uint64_t sector = 0; sector < change.size / kSectorBytes; ++sector) {
    const bool kept = keep();
    if (!change.superseded.empty() && change.superseded[static_cast<size_t>(sector)]) continue;
    if (!kept) continue;
    const uint64_t from = sector * kSectorBytes;
    MakeDurable(file, change, from, kSectorBytes);
    end = change.offset + from + kSectorBytes;
  }
  return end;
}

// A write beyond the end carries the size with it.
void MakeDurable(Inode& file, const PendingChange& change) {
  uint64_t end = 0;
  if (change.is_resize) {
    ResizeDurable(file, change.size);
  } else if (change.superseded.empty()) {
    MakeDurable(file, change, 0, change.size);
    end = change.offset + change.size;
  } else {
    end = MakeSectorsDurable(file, change, [] { return true; });
  }
  file.durable_size = std::max(file.durable_size, end);
}

// What older pending writes hold of these sectors must never come back: over a durable write,
// or behind the end that a resize has set.
void Supersede(Inode& file, uint64_t from, uint64_t to) {
  for (PendingChange& change : file.pending) {
    if (change.is_resize) continue;
    const uint64_t begin = std::max(from, change.offset);
    const uint64_t end = std::min(to, change.offset + change.size);
    if (begin >= end) continue;
    if (change.superseded.empty()) {
      change.superseded.resize(static_cast<size_t>(SectorsOf(change.size)));
    }
    for (uint64_t at = begin; at < end; at += kSectorBytes) {
      change.superseded[static_cast<size_t>((at - change.offset) / kSectorBytes)] = true;
    }
  }
}

// Decides, sector by sector in the order of all pending sectors of the image, what survives.
class Survivors final : public PowerLossChoice {
 public:
  Survivors(PowerLossMode mode, uint64_t sectors_count, Prng& prng)
      : mode_(mode), prng_(prng), cut_(prng.Below(sectors_count + 1)) {}

  void StartWrite() override { whole_ = prng_.Chance(1, 2); }
  bool NextSector() override {
    const uint64_t at = next_++;
    switch (mode_) {
      case PowerLossMode::kSectors:
        return prng_.Chance(1, 2);
      case PowerLossMode::kPrefix:
        return at < cut_;
      case PowerLossMode::kSuffix:
        return at >= cut_;
      case PowerLossMode::kWholeWrites:
        return whole_;
      case PowerLossMode::kNothing:
        return false;
      case PowerLossMode::kEverything:
        return true;
    }
    CHECK_UNREACHABLE();
  }
  uint64_t OfMetadata(uint64_t count) override {
    if (mode_ == PowerLossMode::kNothing) return 0;
    if (mode_ == PowerLossMode::kEverything) return count;
    return prng_.Below(count + 1);
  }

 private:
  PowerLossMode mode_;
  Prng& prng_;
  uint64_t cut_;
  uint64_t next_ = 0;
  bool whole_ = false;
};

// The end of the last surviving sector, 0 for none.
uint64_t ApplySurvivors(Inode& file, const PendingChange& change, PowerLossChoice& survivors) {
  survivors.StartWrite();
  return MakeSectorsDurable(file, change, [&survivors] { return survivors.NextSector(); });
}

void LosePendingNames(Inode& directory, PowerLossChoice& survivors) {
  std::map<std::string_view, std::vector<const NameChange*>> by_name;
  for (const NameChange& change : directory.pending_names) by_name[change.name].push_back(&change);
  for (const auto& [name, changes] : by_name) {
    const uint64_t kept = survivors.OfMetadata(changes.size());
    if (kept == 0) continue;
    const NameChange& last = *changes[static_cast<size_t>(kept - 1)];
    if (last.inode == nullptr) {
      directory.durable_names.erase(last.name);
    } else {
      directory.durable_names[last.name] = last.inode;
    }
  }
  directory.pending_names.clear();
  directory.cached_names = directory.durable_names;
}

InodeRef CloneInode(const Inode& from) {
  auto to = std::make_shared<Inode>();
  to->id = from.id;
  to->is_directory = from.is_directory;
  to->cached = from.cached;
  to->durable = from.durable;
  to->cached_size = from.cached_size;
  to->durable_size = from.durable_size;
  to->allocated = from.allocated;
  to->bad_sectors = from.bad_sectors;
  for (const PendingChange& change : from.pending) {
    PendingChange copy{.order = change.order,
                       .is_resize = change.is_resize,
                       .offset = change.offset,
                       .size = change.size,
                       .bytes = nullptr,
                       .superseded = change.superseded};
    if (change.bytes != nullptr) {
      copy.bytes = std::make_unique<char[]>(static_cast<size_t>(change.size));
      std::memcpy(copy.bytes.get(), change.bytes.get(), static_cast<size_t>(change.size));
    }
    to->pending.push_back(std::move(copy));
  }
  return to;
}

using Clones = std::map<uint64_t, InodeRef>;

InodeRef CloneTree(const InodeRef& from, Clones& clones) {
  if (from == nullptr) return nullptr;
  const auto known = clones.find(from->id);
  if (known != clones.end()) return known->second;
  InodeRef to = CloneInode(*from);
  clones[from->id] = to;
  for (const auto& [name, inode] : from->cached_names) {
    to->cached_names[name] = CloneTree(inode, clones);
  }
  for (const auto& [name, inode] : from->durable_names) {
    to->durable_names[name] = CloneTree(inode, clones);
  }
  for (const NameChange& change : from->pending_names) {
    to->pending_names.push_back(
        NameChange{change.order, change.name, CloneTree(change.inode, clones)});
  }
  return to;
}

void CollectFiles(const Inode& directory, const std::string& path, std::vector<std::string>& to) {
  for (const auto& [name, inode] : directory.cached_names) {
    const std::string child = path + "/" + name;
    if (inode->is_directory) {
      CollectFiles(*inode, child, to);
    } else {
      to.push_back(child);
    }
  }
}

}  // namespace

std::string NormalPath(std::string_view path) {
  std::string normal;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      normal.resize(std::min(normal.rfind('/'), normal.size()));
      continue;
    }
    normal += '/';
    normal += part;
  }
  return normal.empty() ? "/" : normal;
}

SimImage::SimImage() { root_ = NewInode(true); }

InodeRef SimImage::NewInode(bool is_directory) {
  auto inode = std::make_shared<Inode>();
  inode->id = next_id_++;
  inode->is_directory = is_directory;
  return inode;
}

SimImage SimImage::Clone() const {
  SimImage clone;
  Clones clones;
  clone.root_ = CloneTree(root_, clones);
  clone.order_ = order_;
  clone.next_id_ = next_id_;
  return clone;
}

// --- names -------------------------------------------------------------------------------------

StatusOr<InodeRef> SimImage::FindDirectory(std::string_view path) const {
  InodeRef at = root_;
  std::string_view rest = path.substr(1);
  while (!rest.empty()) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    const auto found = at->cached_names.find(rest.substr(0, slash));
    if (found == at->cached_names.end() || !found->second->is_directory) {
      return NotFoundError(path, ": no such directory");
    }
    at = found->second;
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  return at;
}

StatusOr<InodeRef> SimImage::ParentOf(std::string_view path, std::string* name) const {
  const size_t slash = path.rfind('/');
  *name = std::string(path.substr(slash + 1));
  return FindDirectory(slash == 0 ? "/" : path.substr(0, slash));
}

StatusOr<InodeRef> SimImage::Open(std::string_view path, io::OpenMode mode) {
  std::string name;
  StatusOr<InodeRef> parent = ParentOf(path, &name);
  if (!parent.ok()) return parent.status();
  Inode& directory = **parent;
  const auto found = directory.cached_names.find(name);
  const bool exists = found != directory.cached_names.end();
  if (mode != io::OpenMode::kCreate) {
    if (!exists) return NotFoundError(path, ": open: no such file");
    if (found->second->is_directory) return InternalError(path, ": open: EISDIR");
    return found->second;
  }
  if (exists || name.empty()) return AlreadyExistsError(path, ": create: exists");
  InodeRef file = NewInode(false);
  directory.cached_names[name] = file;
  directory.pending_names.push_back(NameChange{order_++, name, file});
  return file;
}

Status SimImage::Remove(std::string_view path) {
  std::string name;
  StatusOr<InodeRef> parent = ParentOf(path, &name);
  if (!parent.ok()) return parent.status();
  Inode& directory = **parent;
  const auto found = directory.cached_names.find(name);
  if (found == directory.cached_names.end()) return NotFoundError(path, ": remove: no such file");
  if (found->second->is_directory) return InternalError(path, ": remove: EISDIR");
  directory.cached_names.erase(found);
  directory.pending_names.push_back(NameChange{order_++, name, nullptr});
  return OkStatus();
}

StatusOr<std::vector<io::DirectoryEntry>> SimImage::List(std::string_view path) const {
  StatusOr<InodeRef> directory = FindDirectory(path);
  if (!directory.ok()) return directory.status();
  std::vector<io::DirectoryEntry> entries;
  for (const auto& [name, inode] : (*directory)->cached_names) {
    entries.push_back(io::DirectoryEntry{name, inode->cached_size, inode->is_directory});
  }
  return entries;
}

Status SimImage::MakeDirectories(std::string_view path) {
  InodeRef at = root_;
  std::string_view rest = path.substr(1);
  while (!rest.empty()) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string name(rest.substr(0, slash));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    const auto found = at->cached_names.find(name);
    if (found == at->cached_names.end()) {
      InodeRef made = NewInode(true);
      at->cached_names[name] = made;
      at->durable_names[name] = made;
      at = made;
    } else if (found->second->is_directory) {
      at->durable_names[name] = found->second;
      at = found->second;
    } else {
      return InternalError(path, ": mkdir: ENOTDIR");
    }
  }
  return OkStatus();
}

Status SimImage::RenameDirectory(std::string_view from, std::string_view to) {
  std::string old_name;
  std::string new_name;
  StatusOr<InodeRef> parent = ParentOf(from, &old_name);
  StatusOr<InodeRef> new_parent = ParentOf(to, &new_name);
  if (!parent.ok()) return parent.status();
  if (!new_parent.ok()) return new_parent.status();
  if (*parent != *new_parent) return InternalError(from, ": rename: another parent");
  Inode& directory = **parent;
  const auto found = directory.cached_names.find(old_name);
  if (found == directory.cached_names.end() || !found->second->is_directory) {
    return NotFoundError(from, ": rename: no such directory");
  }
  if (directory.cached_names.contains(new_name)) {
    return AlreadyExistsError(to, ": rename: exists");
  }
  const InodeRef inode = found->second;
  directory.cached_names.erase(found);
  directory.durable_names.erase(old_name);
  std::erase_if(directory.pending_names, [&](const NameChange& change) {
    return change.name == old_name || change.name == new_name;
  });
  directory.cached_names[new_name] = directory.durable_names[new_name] = inode;
  return OkStatus();
}

void SimImage::SyncNames(Inode& directory, uint64_t order) {
  size_t done = 0;
  for (NameChange& change : directory.pending_names) {
    if (change.order >= order) break;
    if (change.inode == nullptr) {
      directory.durable_names.erase(change.name);
    } else {
      directory.durable_names[change.name] = change.inode;
    }
    ++done;
  }
  directory.pending_names.erase(directory.pending_names.begin(),
                                directory.pending_names.begin() + static_cast<ptrdiff_t>(done));
}

std::vector<std::string> SimImage::Files() const {
  std::vector<std::string> files;
  CollectFiles(*root_, "", files);
  std::sort(files.begin(), files.end());
  return files;
}

InodeRef SimImage::FindFile(std::string_view path) const {
  std::string name;
  StatusOr<InodeRef> parent = ParentOf(path, &name);
  if (!parent.ok()) return nullptr;
  const auto found = (*parent)->cached_names.find(name);
  if (found == (*parent)->cached_names.end() || found->second->is_directory) return nullptr;
  return found->second;
}

// --- content -----------------------------------------------------------------------------------

size_t SimImage::Read(const Inode& file, uint64_t offset, char* to, size_t size) {
  if (offset >= file.cached_size) return 0;
  const auto there = static_cast<size_t>(std::min<uint64_t>(size, file.cached_size - offset));
  file.cached.Read(offset, to, there);
  return there;
}

void SimImage::Write(Inode& file, uint64_t offset, const char* from, size_t size) {
  CHECK_EQ((offset | size) % kSectorBytes, 0u);
  if (size == 0) return;
  file.cached.Write(offset, from, size);
  file.cached_size = std::max(file.cached_size, offset + size);
  PendingChange change{.order = order_++,
                       .is_resize = false,
                       .offset = offset,
                       .size = size,
                       .bytes = nullptr,
                       .superseded = {}};
  const bool zeros =
      from == nullptr || (from[0] == 0 && std::memcmp(from, from + 1, size - 1) == 0);
  if (!zeros) {
    change.bytes = std::make_unique<char[]>(size);
    std::memcpy(change.bytes.get(), from, size);
  }
  file.pending.push_back(std::move(change));
}

void SimImage::WriteDurably(Inode& file, uint64_t offset, const char* from, size_t size) {
  CHECK_EQ((offset | size) % kSectorBytes, 0u);
  if (size == 0) return;
  // The size that the write needs is committed with it, and the journal keeps resizes in order.
  for (const PendingChange& change : file.pending) {
    if (change.is_resize) ResizeDurable(file, change.size);
  }
  std::erase_if(file.pending, [](const PendingChange& change) { return change.is_resize; });
  Supersede(file, offset, offset + size);
  file.cached.Write(offset, from, size);
  file.durable.Write(offset, from, size);
  file.cached_size = std::max(file.cached_size, offset + size);
  file.durable_size = std::max(file.durable_size, offset + size);
  ++order_;
}

void SimImage::Resize(Inode& file, uint64_t size) {
  CHECK_EQ(size % kSectorBytes, 0u);
  if (size == file.cached_size) return;
  if (size < file.cached_size) {
    file.cached.Truncate(size);
    Supersede(file, size, UINT64_MAX);
  }
  file.cached_size = size;
  file.pending.push_back(PendingChange{.order = order_++,
                                       .is_resize = true,
                                       .offset = 0,
                                       .size = size,
                                       .bytes = nullptr,
                                       .superseded = {}});
}

void SimImage::Sync(Inode& file, uint64_t order) {
  const auto end = std::find_if(file.pending.begin(), file.pending.end(),
                                [order](const PendingChange& c) { return c.order >= order; });
  for (auto change = file.pending.begin(); change != end; ++change) {
    MakeDurable(file, *change);
  }
  file.pending.erase(file.pending.begin(), end);
}

void SimImage::SyncFailed(Inode& file, uint64_t order, Prng& prng) {
  const auto end = std::find_if(file.pending.begin(), file.pending.end(),
                                [order](const PendingChange& c) { return c.order >= order; });
  for (auto change = file.pending.begin(); change != end; ++change) {
    if (change->is_resize) {
      ResizeDurable(file, change->size);
      continue;
    }
    Survivors survivors(PowerLossMode::kSectors, 0, prng);
    file.durable_size = std::max(file.durable_size, ApplySurvivors(file, *change, survivors));
  }
  file.pending.erase(file.pending.begin(), end);
}

void SimImage::FlipBit(Inode& file, uint64_t offset, unsigned bit) {
  for (SparseBytes* bytes : {&file.cached, &file.durable}) {
    char byte = 0;
    bytes->Read(offset, &byte, 1);
    byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << (bit % 8)));
    bytes->Write(offset, &byte, 1);
  }
}

template <typename Visit>
void SimImage::VisitAll(const Visit& visit) const {
  std::map<uint64_t, Inode*> found{{root_->id, root_.get()}};
  std::vector<Inode*> open{root_.get()};
  while (!open.empty()) {
    const Inode& at = *open.back();
    open.pop_back();
    const auto add = [&](const InodeRef& inode) {
      if (inode != nullptr && found.emplace(inode->id, inode.get()).second) {
        open.push_back(inode.get());
      }
    };
    for (const auto& [name, inode] : at.cached_names) add(inode);
    for (const auto& [name, inode] : at.durable_names) add(inode);
    for (const NameChange& change : at.pending_names) add(change.inode);
  }
  for (const auto& [id, inode] : found) visit(*inode);
}

namespace {

struct PendingOf {
  Inode* file;
  const PendingChange* change;
};

// What is pending in `inodes`, in the order of completion.
std::vector<PendingOf> PendingInOrder(const std::vector<Inode*>& inodes) {
  std::vector<PendingOf> all;
  for (Inode* inode : inodes) {
    for (const PendingChange& change : inode->pending) all.push_back(PendingOf{inode, &change});
  }
  std::sort(all.begin(), all.end(), [](const PendingOf& a, const PendingOf& b) {
    return a.change->order < b.change->order;
  });
  return all;
}

}  // namespace

uint64_t SimImage::PendingSectors() const {
  uint64_t sectors = 0;
  VisitAll([&sectors](const Inode& inode) {
    for (const PendingChange& change : inode.pending) {
      sectors += change.is_resize ? 0 : SectorsOf(change.size);
    }
  });
  return sectors;
}

void SimImage::LosePower(PowerLossMode mode, Prng& prng) {
  Survivors survivors(mode, PendingSectors(), prng);
  LosePower(survivors);
}

void SimImage::LosePower(PowerLossChoice& survivors) {
  std::vector<Inode*> inodes;
  std::vector<Inode*> directories;
  VisitAll([&](Inode& inode) { (inode.is_directory ? directories : inodes).push_back(&inode); });
  const std::vector<PendingOf> all = PendingInOrder(inodes);
  std::map<uint64_t, uint64_t> resizes_left;  // by file
  for (const PendingOf& pending : all) {
    resizes_left[pending.file->id] += pending.change->is_resize ? 1 : 0;
  }
  for (Inode* inode : inodes) {
    if (inode->pending.empty()) continue;
    uint64_t& left = resizes_left[inode->id];
    left = survivors.OfMetadata(left);
  }
  std::map<uint64_t, uint64_t> ends;  // of a file's surviving data
  for (const PendingOf& pending : all) {
    Inode& file = *pending.file;
    if (!pending.change->is_resize) {
      uint64_t& end = ends[file.id];
      end = std::max(end, ApplySurvivors(file, *pending.change, survivors));
    } else if (resizes_left[file.id] > 0) {
      --resizes_left[file.id];
      ResizeDurable(file, pending.change->size);
    }
  }
  for (Inode* inode : inodes) {
    // The size that a write has set by reaching beyond the end is metadata as well.
    const bool size_kept = !inode->pending.empty() && survivors.OfMetadata(1) == 1;
    if (size_kept) inode->durable_size = std::max(inode->durable_size, ends[inode->id]);
    inode->durable.Truncate(inode->durable_size);
    inode->pending.clear();
    inode->cached = inode->durable;
    inode->cached_size = inode->durable_size;
  }
  // Last, since files that lose their names end here. Directories never do.
  for (Inode* inode : directories) LosePendingNames(*inode, survivors);
}

InodeRef SimImage::FindById(uint64_t id) const {
  InodeRef result;
  VisitAll([&](Inode& inode) {
    for (const auto* names : {&inode.cached_names, &inode.durable_names}) {
      for (const auto& [name, child] : *names) {
        if (child->id == id) result = child;
      }
    }
    for (const NameChange& change : inode.pending_names) {
      if (change.inode != nullptr && change.inode->id == id) result = change.inode;
    }
  });
  return result;
}

uint64_t SimImage::AllocatedBytes() const {
  std::vector<const Inode*> open{root_.get()};
  uint64_t bytes = 0;
  while (!open.empty()) {
    const Inode& at = *open.back();
    open.pop_back();
    bytes += at.allocated;
    for (const auto& [name, inode] : at.cached_names) open.push_back(inode.get());
  }
  return bytes;
}

}  // namespace metastore::sim
