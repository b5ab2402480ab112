#include "tools/walinspect/crashtest/history.h"

#include <algorithm>

namespace metastore::crashtest {

History::History(const std::vector<io::TraceRecord>& records) {
  for (size_t place = 0; place < records.size(); ++place) {
    const io::TraceRecord& record = records[place];
    const Note note = NoteOf(record);
    if (note == Note::kPut || note == Note::kDelete) {
      calls_[record.operation] = {.begun = place,
                                  .key = record.name,
                                  .value = record.data,
                                  .deletes = note == Note::kDelete};
    } else if (note == Note::kAnswered) {
      const auto call = calls_.find(record.operation);
      if (call == calls_.end()) continue;
      call->second.answered = place;
      call->second.revision = record.size;
    }
  }
  for (const auto& [number, call] : calls_) by_key_[std::string(call.key)].push_back(&call);
}

uint64_t History::AcknowledgedBefore(size_t place) const {
  uint64_t revision = 0;
  for (const auto& [number, call] : calls_) {
    if (call.revision != 0 && call.answered < place) revision = std::max(revision, call.revision);
  }
  return revision;
}

std::string History::Check(const StoreState& state, size_t place, uint64_t shown) const {
  const uint64_t acknowledged = AcknowledgedBefore(place);
  if (state.revision < acknowledged) {
    return Concat("LOST: revision ", acknowledged, " was acknowledged, the store is at ",
                  state.revision);
  }
  if (state.revision < shown) {
    return Concat("LOST: revision ", shown, " was shown after the first start, the store is at ",
                  state.revision);
  }
  for (const auto& [key, stored] : state.keys) {
    if (!by_key_.contains(key)) return Concat("WRONG: nobody has ever put the key ", key);
  }
  for (const auto& [key, calls] : by_key_) {
    std::string wrong = CheckKey(calls, state, place);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string History::Describe(const Call& call) {
  return Concat(
      call.deletes ? "a deletion" : "a put",
      call.revision == 0 ? std::string(" never answered") : Concat(" of revision ", call.revision));
}

std::string History::CheckKey(const std::vector<const Call*>& calls, const StoreState& state,
                              size_t place) const {
  const std::string_view key = calls.front()->key;
  const auto stored = state.keys.find(std::string(key));
  const bool there = stored != state.keys.end();
  // What the key must show: of the calls whose revision the store has, the last. An unanswered one
  // that began after it may have come on top.
  const Call* last = nullptr;
  const Call* shown = nullptr;
  for (const Call* call : calls) {
    if (call->begun >= place) continue;
    const bool known = call->revision != 0 && call->revision <= state.revision;
    if (known && (last == nullptr || call->revision > last->revision)) last = call;
    if (there && !call->deletes && call->value == stored->second.value) shown = call;
  }
  if (there && shown == nullptr) {
    return Concat("WRONG: key ", key, " has a value that nobody had put there");
  }
  if (there && shown->revision != 0 && stored->second.revision != shown->revision) {
    return Concat("WRONG: key ", key, " has ", Describe(*shown), " at revision ",
                  stored->second.revision);
  }
  const auto may_cover = [&](const Call& call) {
    return call.revision == 0 && call.begun < place &&
           (last == nullptr || call.begun > last->begun);
  };
  if (there && (shown == last || may_cover(*shown))) return "";
  if (!there) {
    if (last == nullptr || last->deletes) return "";
    const bool deleted = std::ranges::any_of(
        calls, [&](const Call* call) { return call->deletes && may_cover(*call); });
    if (deleted) return "";
  }
  const std::string has = there ? Describe(*shown) : "nothing";
  if (last == nullptr) return Concat("WRONG: key ", key, " has ", has, ", nothing was put");
  const bool acknowledged = last->answered < place;
  return Concat(acknowledged ? "LOST: key " : "WRONG: key ", key, " has ", has, ", not ",
                Describe(*last));
}

}  // namespace metastore::crashtest
