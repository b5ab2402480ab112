#include "tools/walinspect/crashtest/run.h"

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "io/base/hash.h"
#include "tools/walinspect/crashtest/image_check.h"
#include "tools/walinspect/crashtest/real_disk.h"

namespace metastore::crashtest {
namespace {

bool ChangesDisk(const io::TraceRecord& record) { return record.kind != io::TraceKind::kNote; }

// Where a crash can differ from one elsewhere: before each change of the disk, so that the notes in
// front of it count, and at the end of each life.
std::vector<size_t> PlacesOf(const std::vector<io::TraceRecord>& records) {
  std::vector<size_t> places;
  bool alive = false;
  for (size_t i = 0; i < records.size(); ++i) {
    const Note note = NoteOf(records[i]);
    if (alive && (ChangesDisk(records[i]) || note == Note::kEnded)) places.push_back(i);
    if (note == Note::kBoot) alive = true;
    if (note == Note::kEnded) alive = false;
  }
  if (alive) places.push_back(records.size());
  return places;
}

// `count` of them by chance, in order; all, for 0.
std::vector<size_t> Choose(std::vector<size_t> places, uint64_t count, Prng& prng) {
  if (count == 0 || count >= places.size()) return places;
  for (size_t i = 0; i < count; ++i) {
    std::swap(places[i], places[static_cast<size_t>(prng.Between(i, places.size() - 1))]);
  }
  places.resize(static_cast<size_t>(count));
  std::ranges::sort(places);
  return places;
}

struct OneImage {
  size_t place = 0;
  Variant variant;
};

StatusOr<OneImage> ParseOnly(std::string_view name) {
  OneImage one;
  const size_t slash = std::min(name.find('/'), name.size());
  const char* end = name.data() + slash;
  const auto parsed = std::from_chars(name.data(), end, one.place);
  if (parsed.ec != std::errc() || parsed.ptr != end || slash == name.size()) {
    return InvalidArgumentError("\"", name, "\" names no image: PLACE/VARIANT, as 312/s5");
  }
  const StatusOr<Variant> variant = ParseVariant(name.substr(slash + 1));
  MS_RETURN_IF_ERROR(variant.status());
  one.variant = *variant;
  return one;
}

// Cases from the one who makes them to those who run them; bounded, so that images wait nowhere.
class CaseQueue final {
 public:
  explicit CaseQueue(size_t max) : max_(max) {}

  // False once the queue is closed.
  bool Push(ImageCase one) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || cases_.size() < max_; });
    if (closed_) return false;
    cases_.push_back(std::move(one));
    changed_.notify_all();
    return true;
  }
  // Nothing once it is closed and empty.
  std::optional<ImageCase> Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !cases_.empty(); });
    if (cases_.empty()) return std::nullopt;
    ImageCase one = std::move(cases_.front());
    cases_.pop_front();
    changed_.notify_all();
    return one;
  }
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  const size_t max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ImageCase> cases_;  // under mutex_
  bool closed_ = false;          // under mutex_
};

class Runner final {
 public:
  Runner(const Recording& recording, const RunOptions& options, const ProgressFn& progress)
      : recording_(recording),
        options_(options),
        progress_(progress),
        history_(recording.records),
        queue_(size_t{options.jobs} * 2),
        began_(MonotonicNow()) {}

  StatusOr<RunReport> Run() {
    MS_RETURN_IF_ERROR(ClaimWorkDirectory(options_.work));
    std::vector<std::thread> workers;
    for (unsigned job = 0; job < options_.jobs; ++job) {
      workers.emplace_back([this, job] { Work(job); });
    }
    Status planned = Plan();
    queue_.Close();
    for (std::thread& worker : workers) worker.join();
    MS_RETURN_IF_ERROR(planned);
    MS_RETURN_IF_ERROR(broken_);
    report_.seconds = static_cast<double>((MonotonicNow() - began_).ns) / 1e9;
    return report_;
  }

 private:
  // Walks the recording and hands out the images.
  Status Plan() {
    OneImage only;
    if (!options_.only.empty()) {
      const StatusOr<OneImage> parsed = ParseOnly(options_.only);
      MS_RETURN_IF_ERROR(parsed.status());
      only = *parsed;
    }
    const std::vector<size_t> all = PlacesOf(recording_.records);
    report_.places = all.size();
    Prng prng(options_.seed);
    std::vector<size_t> places = Choose(all, options_.points, prng);
    if (!options_.only.empty()) places = {only.place};
    if (!std::ranges::includes(all, places)) {
      return InvalidArgumentError("no crash is looked at before record ", only.place);
    }
    DiskReplay replay;
    size_t at = 0;
    for (const size_t place : places) {
      for (; at < place; ++at) MS_RETURN_IF_ERROR(replay.Apply(recording_.records[at]));
      const std::vector<Variant> variants = options_.only.empty()
                                                ? VariantsAt(replay, options_.variants)
                                                : std::vector<Variant>{only.variant};
      if (!HandOut(replay, place, variants)) return OkStatus();
      const std::lock_guard lock(mutex_);
      ++report_.looked;
      progress_(report_.images, report_.failed, report_.looked, places.size());
    }
    report_.complete = true;
    // The rest of the recording must make sense, too.
    for (; at < recording_.records.size(); ++at) {
      MS_RETURN_IF_ERROR(replay.Apply(recording_.records[at]));
    }
    return OkStatus();
  }

  // False: it is enough.
  bool HandOut(const DiskReplay& replay, size_t place, const std::vector<Variant>& variants) {
    const uint64_t acknowledged = history_.AcknowledgedBefore(place);
    for (const Variant& variant : variants) {
      ImageCase one{.name = Concat(place, "/", VariantName(variant)),
                    .image = MakeCrashImage(replay, variant, MixSeed(options_.seed, place)),
                    .place = place};
      if (!seen_.emplace(one.image.Hash(), acknowledged).second) {
        const std::lock_guard lock(mutex_);
        ++report_.same;
        continue;
      }
      const uint64_t number = ++handed_out_;
      if (options_.images_max != 0 && number > options_.images_max) return false;
      if (Late() || FailedEnough()) return false;
      const auto each = [number](uint64_t every) { return every != 0 && number % every == 0; };
      one.traced = each(options_.double_every);
      one.goes_on = !one.traced && each(options_.goes_on_every);
      if (!queue_.Push(std::move(one))) return false;
    }
    return true;
  }

  bool Late() const {
    return options_.seconds_max != 0 &&
           MonotonicNow() - began_ > Seconds(static_cast<int64_t>(options_.seconds_max));
  }

  bool FailedEnough() {
    const std::lock_guard lock(mutex_);
    return options_.failures_max != 0 && report_.failed >= options_.failures_max;
  }

  void Work(unsigned job) {
    ImageCheck check(options_.node, history_, Concat(options_.work, "/job-", job));
    while (std::optional<ImageCase> one = queue_.Pop()) {
      const std::optional<ImageResult> result = RunOne(check, *one);
      if (result && one->traced && result->wrong.empty()) CrashAgain(check, *one, *result);
    }
  }

  // Nothing: images cannot be written any more, and all end.
  std::optional<ImageResult> RunOne(ImageCheck& check, const ImageCase& one) {
    StatusOr<ImageResult> result = check.Run(one);
    Status kept;
    std::string directory;
    if (result.ok() && !result->wrong.empty()) {
      std::string name = one.name;
      std::ranges::replace(name, '/', '-');
      directory = Concat(options_.work, "/failed/", name);
      kept = check.Keep(one, directory);
    }
    const std::lock_guard lock(mutex_);
    if (!result.ok() || !kept.ok()) {
      broken_ = result.ok() ? kept : result.status();
      queue_.Close();
      return std::nullopt;
    }
    ++report_.images;
    report_.went_on += one.goes_on ? 1 : 0;
    ++report_.verdicts[result->verdict];
    if (!result->start_path.empty()) ++report_.start_paths[result->start_path];
    if (result->wrong.empty()) return *std::move(result);
    ++report_.failed;
    if (report_.failures.size() < kFailuresKept) {
      report_.failures.push_back({one.name, result->wrong, directory});
    }
    return *std::move(result);
  }

  // The start from `one` crashes, at places of its own trace.
  void CrashAgain(ImageCheck& check, const ImageCase& one, const ImageResult& first) {
    StatusOr<Recording> trace = ParseProcessTrace(first.trace);
    if (!trace.ok()) return Fail(one, trace.status());
    std::vector<size_t> all(trace->records.size() + 1);
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    Prng prng(MixSeed(options_.seed, one.place));
    const std::vector<size_t> places = Choose(std::move(all), options_.double_points, prng);
    DiskReplay replay(DiskOf(one.image));
    replay.SetRoot(check.data());
    std::set<uint64_t> seen;
    size_t at = 0;
    for (const size_t place : places) {
      for (; at < place; ++at) {
        Status applied = replay.Apply(trace->records[at]);
        if (!applied.ok()) return Fail(one, applied);
      }
      // The last moment before the next record counts.
      const bool shown =
          place == trace->records.size() || trace->records[place].time > first.shown_at;
      for (const Variant& variant : VariantsAt(replay, {.subsets_max = 0, .random_count = 1})) {
        ImageCase second{.name = Concat(one.name, "+", place, "/", VariantName(variant)),
                         .image = MakeCrashImage(replay, variant, MixSeed(options_.seed, place)),
                         .place = one.place,
                         .shown = shown ? first.shown : 0};
        if (!seen.insert(second.image.Hash()).second) continue;
        if (!RunOne(check, second)) return;
        const std::lock_guard lock(mutex_);
        ++report_.doubles;
      }
    }
  }

  void Fail(const ImageCase& one, const Status& status) {
    const std::lock_guard lock(mutex_);
    ++report_.failed;
    if (report_.failures.size() == kFailuresKept) return;
    report_.failures.push_back(
        {one.name, Concat("the trace of its start: ", StdView(status.message())), ""});
  }

  const Recording& recording_;
  const RunOptions& options_;
  const ProgressFn& progress_;
  const History history_;
  CaseQueue queue_;
  const MonoTime began_;
  std::set<std::pair<uint64_t, uint64_t>> seen_;  // image and what was acknowledged
  uint64_t handed_out_ = 0;
  std::mutex mutex_;
  RunReport report_;  // under mutex_
  Status broken_;     // under mutex_
};

}  // namespace

StatusOr<RunReport> RunCrashes(const Recording& recording, const RunOptions& options,
                               const ProgressFn& progress) {
  return Runner(recording, options, progress).Run();
}

}  // namespace metastore::crashtest
