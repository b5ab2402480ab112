// ChangeFanout: the engine's one listener, on behalf of several.
//
// Owned by the StateCore, on its core; told in the order of Add.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/engine.h"

namespace metastore::server {

class ChangeFanout final : public engine::ChangeListener {
 public:
  // Outlives the fanout's use.
  void Add(engine::ChangeListener& listener) { listeners_.push_back(&listener); }

  Detail WantedDetail() const override {
    Detail most = Detail::kNothing;
    for (const engine::ChangeListener* listener : listeners_) {
      most = std::max(most, listener->WantedDetail());
    }
    return most;
  }
  void OnChanges(Revision revision, std::span<const engine::Event> events) override {
    for (engine::ChangeListener* listener : listeners_) listener->OnChanges(revision, events);
  }
  void OnLeaseGranted(const engine::LeaseInfo& lease) override {
    for (engine::ChangeListener* listener : listeners_) listener->OnLeaseGranted(lease);
  }
  void OnLeaseRevoked(LeaseId lease) override {
    for (engine::ChangeListener* listener : listeners_) listener->OnLeaseRevoked(lease);
  }
  void OnLeaseCheckpointed(const engine::LeaseInfo& lease) override {
    for (engine::ChangeListener* listener : listeners_) listener->OnLeaseCheckpointed(lease);
  }
  void OnCompacted(Revision revision) override {
    for (engine::ChangeListener* listener : listeners_) listener->OnCompacted(revision);
  }
  void OnRestored() override {
    for (engine::ChangeListener* listener : listeners_) listener->OnRestored();
  }

 private:
  std::vector<engine::ChangeListener*> listeners_;
};

}  // namespace metastore::server
