#include "tests/sim/log_damage.h"

#include <algorithm>
#include <set>
#include <vector>

#include "wal/format.h"

namespace metastore::sim_test {
namespace {

struct Place {
  std::string path;
  uint64_t offset = 0;
  uint64_t bytes = 0;  // of header and body
  uint64_t stream = 0;
  wal::FrameHeader header;
};

// The frames of one file, in order.
void Collect(const sim::SimDisk& disk, const std::string& path, std::vector<Place>& places) {
  wal::SegmentHeader segment;
  const std::string head = disk.ReadDurable(path, 0, wal::kSegmentHeaderBytes);
  if (head.size() < wal::kSegmentHeaderBytes ||
      wal::DecodeSegmentHeader(head, segment) != wal::Decoded::kGood ||
      segment.state != wal::SegmentState::kActive) {
    return;
  }
  uint64_t offset = wal::kSegmentHeaderBytes;
  while (true) {
    const std::string bytes = disk.ReadDurable(path, offset, wal::kFrameHeaderBytes);
    const wal::FramePlace at{.stream = segment.stream,
                             .segment = segment.segment,
                             .block = static_cast<uint32_t>(offset / wal::kBlockBytes)};
    Place place{.path = path, .offset = offset, .stream = segment.stream};
    if (bytes.size() < wal::kFrameHeaderBytes ||
        wal::DecodeFrameHeader(bytes, at, place.header) != wal::Decoded::kGood) {
      return;
    }
    place.bytes = wal::kFrameHeaderBytes + place.header.body_bytes;
    offset += place.header.frame_bytes;
    places.push_back(std::move(place));
  }
}

// Zeros, as in a new segment, or the leftovers of a recycled one.
std::string BytesBefore(const sim::SimDisk& disk, const Place& place,
                        const std::vector<Place>& places, Prng& prng) {
  const Place& other = places[prng.Below(places.size())];
  std::string bytes;
  if (other.path != place.path) {
    bytes = disk.ReadDurable(other.path, place.offset, place.header.frame_bytes);
  }
  bytes.resize(place.header.frame_bytes);
  return bytes;
}

void DamageFrame(sim::SimDisk& disk, const Place& place, const std::vector<Place>& places,
                 Prng& prng, LogDamage how) {
  if (how == LogDamage::kBits) {
    disk.FlipBit(place.path, place.offset + prng.Below(place.bytes),
                 static_cast<unsigned>(prng.Below(8)));
    return;
  }
  const std::string frame = disk.ReadDurable(place.path, place.offset, place.header.frame_bytes);
  disk.WriteRaw(place.path, place.offset, BytesBefore(disk, place, places, prng));
  const Place& target = places[prng.Below(places.size())];
  if (how == LogDamage::kLost || &target == &place) return;
  disk.WriteRaw(target.path, target.offset,
                std::string_view(frame).substr(0, target.header.frame_bytes));
}

}  // namespace

size_t DamageLog(sim::SimDisk& disk, const std::string& directory, Prng& prng, LogDamage how) {
  std::vector<Place> places;
  for (const std::string& path : disk.ListFiles()) {
    if (path.starts_with(directory + "/")) Collect(disk, path, places);
  }
  Lsn promised;
  wal::SegmentSeq first_live;
  for (const Place& place : places) {
    promised = std::max(promised, place.header.durable);
    first_live = std::max(first_live, place.header.first_live);
  }
  std::erase_if(places, [&](const Place& place) {
    return place.header.lsn > promised || place.header.segment < first_live;
  });
  if (places.empty()) return 0;
  std::ranges::sort(places, {}, [](const Place& place) { return place.header.lsn; });
  const size_t count = 1 + prng.Below(4);
  for (size_t i = 0; i < count; ++i) {
    const size_t among = prng.Chance(1, 2) ? std::min<size_t>(places.size(), 4) : places.size();
    DamageFrame(disk, places[places.size() - 1 - prng.Below(among)], places, prng, how);
  }
  return places.size();
}

std::vector<raft::Entry> LoggedEntries(const sim::SimDisk& disk, const std::string& directory) {
  std::vector<Place> places;
  for (const std::string& path : disk.ListFiles()) {
    if (path.starts_with(directory + "/")) Collect(disk, path, places);
  }
  std::vector<raft::Entry> entries;
  for (const Place& place : places) {
    const std::string frame = disk.ReadDurable(place.path, place.offset, place.header.frame_bytes);
    if (!wal::FrameBodyIntact(place.header, place.stream, frame)) continue;
    Reader reader(wal::FrameBody(place.header, frame));
    wal::LoggedRecord logged;
    for (uint32_t i = 0; i < place.header.record_count; ++i) {
      if (!wal::ReadRecordFrom(reader, logged)) break;
      if (!wal::IsEntryKind(logged.record.kind)) continue;
      entries.push_back({.term = logged.record.term,
                         .index = logged.record.index,
                         .type = static_cast<raft::EntryType>(logged.record.tag),
                         .payload = raft::Payload(logged.record.bytes)});
    }
  }
  return entries;
}

size_t LogsSetAside(const sim::SimDisk& disk, const std::string& directory) {
  std::set<std::string> logs;
  const std::string begin = directory + ".damaged-";
  for (const std::string& path : disk.ListFiles()) {
    if (path.starts_with(begin)) logs.insert(path.substr(0, path.rfind('/')));
  }
  return logs.size();
}

}  // namespace metastore::sim_test
