#include "tests/sim/watch_check.h"

#include <algorithm>
#include <map>

#include "io/base/check.h"
#include "io/base/status.h"

namespace metastore::sim_test {
namespace {

using etcdserverpb::WatchCreateRequest;

bool Wants(const WatchCreateRequest& wish, const TrueChange& change) {
  const std::string& end = wish.range_end();
  const bool open = end.size() == 1 && end[0] == '\0';
  const bool inside = end.empty() ? change.key == wish.key()
                                  : change.key >= wish.key() && (open || change.key < end);
  const auto left_out = change.deleted ? WatchCreateRequest::NODELETE : WatchCreateRequest::NOPUT;
  return inside && std::ranges::find(wish.filters(), left_out) == wish.filters().end();
}

std::string Show(const TrueChange& change) {
  return Concat(change.deleted ? "the delete of " : "the put of ", change.key, " at ",
                change.revision);
}

std::string Show(const mvccpb::Event& event) {
  return Concat(event.type() == mvccpb::Event::DELETE ? "the delete of " : "the put of ",
                event.kv().key(), " at ", event.kv().mod_revision());
}

bool IsChange(const mvccpb::Event& event, const TrueChange& change) {
  const mvccpb::KeyValue& kv = event.kv();
  return (event.type() == mvccpb::Event::DELETE) == change.deleted && kv.key() == change.key &&
         kv.mod_revision() == change.revision && kv.value() == change.value &&
         kv.create_revision() == change.created && kv.version() == change.version;
}

bool HasPrevious(const mvccpb::Event& event, const TrueChange& change) {
  if (!event.has_prev_kv()) return change.previous_revision == 0;
  const mvccpb::KeyValue& previous = event.prev_kv();
  return previous.key() == change.key && previous.mod_revision() == change.previous_revision &&
         previous.value() == change.previous_value;
}

// Goes through what one watcher was told, beside what it must be told.
class Reader {
 public:
  Reader(const WatchLife& life, const std::vector<TrueChange>& changes,
         const std::set<int64_t>& compactions)
      : life_(life), compactions_(compactions) {
    for (const TrueChange& change : changes) {
      if (change.revision >= life.start && Wants(life.wish, change)) due_.push_back(&change);
    }
  }

  // Empty: it is as it must be.
  std::string Check() {
    for (const Told& told : life_.told) {
      std::string problem = CheckTold(told);
      if (!problem.empty()) return problem;
    }
    if (life_.whole && at_ < due_.size()) return Concat("never told of ", Show(*due_[at_]));
    return {};
  }

 private:
  std::string CheckTold(const Told& told) {
    switch (told.kind) {
      case Told::Kind::kEvents:
        return CheckEvents(told);
      case Told::Kind::kProgress:
        if (at_ == due_.size() || due_[at_]->revision > told.revision) return {};
        return Concat("told that it has everything up to ", told.revision, " before ",
                      Show(*due_[at_]));
      case Told::Kind::kCompacted: {
        const int64_t next = at_ == 0 ? life_.start : due_[at_ - 1]->revision + 1;
        if (next < told.revision) return {};
        return Concat("cancelled as compacted to ", told.revision, " though it needs ", next);
      }
    }
    CHECK_UNREACHABLE();
  }

  std::string CheckEvents(const Told& told) {
    if (told.events.empty()) return "an answer without events";
    for (const mvccpb::Event& event : told.events) {
      if (at_ == due_.size()) return Concat("told of ", Show(event), ", which is not due");
      const TrueChange& change = *due_[at_++];
      if (!IsChange(event, change)) {
        return Concat("told of ", Show(event), " where ", Show(change), " is next");
      }
      if (!PreviousIsRight(event, change)) return Concat("a wrong previous pair of ", Show(change));
    }
    const int64_t last = due_[at_ - 1]->revision;
    if (told.revision < last) return Concat("a header of ", told.revision, " with ", last);
    const bool cut = at_ < due_.size() && due_[at_]->revision == last;
    return cut ? Concat("revision ", last, " comes in parts") : std::string();
  }

  bool PreviousIsRight(const mvccpb::Event& event, const TrueChange& change) const {
    if (!life_.wish.prev_kv()) return !event.has_prev_kv();
    const bool may_be_gone = compactions_.contains(change.revision);
    return HasPrevious(event, change) || (may_be_gone && !event.has_prev_kv());
  }

  const WatchLife& life_;
  const std::set<int64_t>& compactions_;
  std::vector<const TrueChange*> due_;
  size_t at_ = 0;  // of due_: what comes next
};

}  // namespace

std::vector<TrueChange> ChangesOf(const StoreHistory& store) {
  std::vector<TrueChange> changes;
  std::map<std::string, TrueChange> newest;
  for (const int64_t revision : store.Revisions()) {
    for (auto& [key, version] : store.ChangesAt(revision)) {
      TrueChange& known = newest[key];
      TrueChange change{.revision = revision,
                        .key = key,
                        .value = version.value,
                        .deleted = version.deleted,
                        .created = version.deleted      ? 0
                                   : known.version == 0 ? revision
                                                        : known.created,
                        .version = version.deleted ? 0 : known.version + 1};
      if (known.version > 0) {
        change.previous_revision = known.revision;
        change.previous_value = known.value;
      }
      changes.push_back(change);
      known = std::move(change);
    }
  }
  return changes;
}

int64_t WatchLife::next() const {
  int64_t next = start;
  for (const Told& one : told) {
    switch (one.kind) {
      case Told::Kind::kEvents:
        next = std::max(next, one.events.back().kv().mod_revision() + 1);
        break;
      case Told::Kind::kProgress:
        next = std::max(next, one.revision + 1);
        break;
      case Told::Kind::kCompacted:
        next = std::max(next, one.revision);
        break;
    }
  }
  return next;
}

std::vector<std::string> CheckLife(const WatchLife& life, const std::vector<TrueChange>& changes,
                                   const std::set<int64_t>& compactions) {
  if (life.start == 0) return {};
  std::string problem = Reader(life, changes, compactions).Check();
  if (problem.empty()) return {};
  return {Concat(life.name, " from ", life.start, ": ", problem)};
}

}  // namespace metastore::sim_test
