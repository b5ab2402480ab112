#include "engine/load_sort.h"

#include <algorithm>

namespace metastore::engine {

void LoadSort::Add(Version* version) {
  if (runs_.empty() || runs_.back().items.size() == kRunVersions) {
    if (!runs_.empty()) Sort(runs_.back());
    runs_.emplace_back().items.reserve(kRunVersions);
  }
  runs_.back().items.push_back({{version->main, version->sub}, version});
}

void LoadSort::Sort(Run& run) {
  std::sort(run.items.begin(), run.items.end(),
            [](const Item& a, const Item& b) { return a.at < b.at; });
}

void LoadSort::Begin() {
  if (!runs_.empty()) Sort(runs_.back());
  std::make_heap(runs_.begin(), runs_.end(), Later);
}

Version* LoadSort::Take() {
  if (runs_.empty()) return nullptr;
  std::pop_heap(runs_.begin(), runs_.end(), Later);
  Run& run = runs_.back();
  Version* version = run.items[run.taken++].version;
  if (run.taken == run.items.size()) {
    runs_.pop_back();
  } else {
    std::push_heap(runs_.begin(), runs_.end(), Later);
  }
  return version;
}

bool LoadSort::DropRun() {
  if (!runs_.empty()) runs_.pop_back();
  return runs_.empty();
}

}  // namespace metastore::engine
