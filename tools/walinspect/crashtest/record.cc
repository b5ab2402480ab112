#include "tools/walinspect/crashtest/record.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "io/base/prng.h"
#include "tools/walinspect/crashtest/crash_image.h"
#include "tools/walinspect/crashtest/kv_client.h"
#include "tools/walinspect/crashtest/real_disk.h"
#include "tools/walinspect/crashtest/recording.h"

namespace metastore::crashtest {
namespace {

constexpr size_t kKeys = 40;
constexpr size_t kValueBytesMax = 12'000;
// Longer than the log waits before it promises its last frame.
constexpr Duration kIdle = Milliseconds(200);

enum class End : uint8_t { kKill, kKillIdle, kStop };

struct Life {
  uint64_t percent_alone = 0;     // of all calls, one at a time
  uint64_t percent_together = 0;  // and then `together` at a time
  size_t together = 8;
  End end = End::kStop;
};

constexpr Life kLives[] = {{15, 35, 8, End::kKill},
                           {0, 25, 8, End::kStop},
                           {15, 0, 1, End::kKillIdle},
                           {0, 10, 4, End::kStop}};

class Driver final {
 public:
  Driver(const RecordOptions& options, const std::function<void(std::string_view)>& progress)
      : options_(options), progress_(progress), prng_(options.seed) {}

  StatusOr<std::string> Run() {
    MS_RETURN_IF_ERROR(ClaimWorkDirectory(options_.work));
    for (size_t i = 0; i < std::size(kLives); ++i) {
      progress_(Concat("life ", i + 1, " of ", std::size(kLives)));
      MS_RETURN_IF_ERROR(RunLife(kLives[i], i + 1));
    }
    return writer_.Join();
  }

 private:
  Status RunLife(const Life& life, size_t number) {
    const NodePlace place{.data = options_.work + "/data",
                          .log = Concat(options_.work, "/node-", number, ".log"),
                          .trace = Concat(options_.work, "/node-", number, ".trace")};
    io::TraceRecord boot = MakeNote(Note::kBoot, MonotonicNow());
    boot.name = Keep(place.data);
    writer_.Add(boot);
    auto node = NodeProcess::Start(options_.node, place);
    MS_RETURN_IF_ERROR(node.status());
    auto client = KvClient::Connect((*node)->port());
    MS_RETURN_IF_ERROR(client.status());
    const bool drain = life.end != End::kKill;
    const uint64_t share = options_.writes;
    MS_RETURN_IF_ERROR(Load(**client, share * life.percent_alone / 100, 1, true));
    MS_RETURN_IF_ERROR(Load(**client, share * life.percent_together / 100, life.together, drain));
    if (life.end == End::kKillIdle) Idle();
    if (life.end == End::kStop) {
      client->reset();
      MS_RETURN_IF_ERROR((*node)->Stop());
    } else {
      (*node)->Kill();
    }
    busy_.clear();
    MS_RETURN_IF_ERROR(AddTrace(place.trace));
    return AddFiles(place.data);
  }

  static void Idle() {
    for (const MonoTime until = MonotonicNow() + kIdle; MonotonicNow() < until;) Pause();
  }

  // `count` calls, `together` at a time; without `drain` the last ones are left under way.
  Status Load(KvClient& client, uint64_t count, size_t together, bool drain) {
    for (uint64_t begun = 0; begun < count || (drain && client.under_way() > 0);) {
      const bool may_begin = begun < count && client.under_way() < together;
      Status done = may_begin ? Begin(client) : TakeAnswer(client);
      MS_RETURN_IF_ERROR(done);
      begun += may_begin ? 1 : 0;
    }
    return OkStatus();
  }

  // A key has one call under way at a time, so that the order of its values is known.
  std::string_view FreeKey() {
    while (true) {
      const std::string key = Concat("key/", prng_.Below(kKeys));
      if (std::ranges::find(busy_, key, &std::pair<const uint64_t, std::string_view>::second) ==
          busy_.end()) {
        return Keep(key);
      }
    }
  }

  Status Begin(KvClient& client) {
    const uint64_t number = ++calls_;
    const std::string_view key = FreeKey();
    busy_[number] = key;
    const bool deletes = prng_.Chance(1, 12);
    io::TraceRecord note = MakeNote(deletes ? Note::kDelete : Note::kPut, {});
    note.operation = number;
    note.name = key;
    if (!deletes) {
      const size_t most = prng_.Chance(1, 3) ? kValueBytesMax : 900;
      std::string value = Concat("call ", number, " ");
      value.resize(static_cast<size_t>(prng_.Between(value.size(), most)),
                   static_cast<char>('a' + number % 26));
      note.data = Keep(std::move(value));
    }
    note.time = MonotonicNow();
    writer_.Add(note);
    return deletes ? client.StartDelete(number, key) : client.StartPut(number, key, note.data);
  }

  Status TakeAnswer(KvClient& client) {
    const StatusOr<KvClient::Answer> answer = client.Await();
    MS_RETURN_IF_ERROR(answer.status());
    io::TraceRecord note = MakeNote(Note::kAnswered, MonotonicNow());
    note.operation = answer->tag;
    note.size = answer->revision;
    writer_.Add(note);
    busy_.erase(answer->tag);
    return OkStatus();
  }

  Status AddTrace(const std::string& path) {
    StatusOr<std::string> bytes = ReadWholeFile(path);
    MS_RETURN_IF_ERROR(bytes.status());
    StatusOr<Recording> trace = ParseProcessTrace(*std::move(bytes));
    MS_RETURN_IF_ERROR(trace.status());
    writer_.Add(*trace);
    return RemoveTree(path);
  }

  // What the files hold now.
  Status AddFiles(const std::string& directory) {
    StatusOr<CrashImage> read = ReadImage(directory);
    MS_RETURN_IF_ERROR(read.status());
    const CrashImage& image = images_.emplace_back(*std::move(read));
    const MonoTime now = MonotonicNow();
    writer_.Add(MakeNote(Note::kEnded, now));
    for (const ImageFile& file : image.files) {
      io::TraceRecord note = MakeNote(Note::kFile, now);
      note.name = file.path;
      note.size = file.bytes;
      writer_.Add(note);
      for (const auto& [offset, bytes] : file.runs) {
        note = MakeNote(Note::kBytes, now);
        note.offset = offset;
        note.data = bytes;
        writer_.Add(note);
      }
    }
    writer_.Add(MakeNote(Note::kListed, now));
    return OkStatus();
  }

  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  const RecordOptions& options_;
  const std::function<void(std::string_view)>& progress_;
  Prng prng_;
  RecordingWriter writer_;
  std::deque<std::string> texts_;              // what notes point into
  std::deque<CrashImage> images_;              // likewise
  std::map<uint64_t, std::string_view> busy_;  // keys of the calls under way
  uint64_t calls_ = 0;
};

// The whole recording must make sense before it is kept.
Status CheckExplains(const std::string& recording) {
  StatusOr<Recording> parsed = ParseRecording(recording);
  MS_RETURN_IF_ERROR(parsed.status());
  DiskReplay replay;
  for (const io::TraceRecord& record : parsed->records) {
    MS_RETURN_IF_ERROR(replay.Apply(record));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::string> Record(const RecordOptions& options,
                             const std::function<void(std::string_view)>& progress) {
  StatusOr<std::string> recording = Driver(options, progress).Run();
  MS_RETURN_IF_ERROR(recording.status());
  MS_RETURN_IF_ERROR(CheckExplains(*recording));
  return recording;
}

StatusOr<RecordSummary> Summarize(const std::string& recording) {
  const StatusOr<Recording> parsed = ParseRecording(recording);
  MS_RETURN_IF_ERROR(parsed.status());
  RecordSummary summary;
  std::map<uint64_t, std::string_view> names;  // of files, in this life
  std::map<std::string_view, uint64_t> begun;  // segments, by file
  for (const io::TraceRecord& record : parsed->records) {
    const Note note = NoteOf(record);
    summary.lives += note == Note::kBoot ? 1 : 0;
    summary.calls += note == Note::kPut || note == Note::kDelete ? 1 : 0;
    summary.answered += note == Note::kAnswered ? 1 : 0;
    if (record.kind != io::TraceKind::kBegin) continue;
    ++summary.operations;
    if (record.op == io::TraceOp::kOpen) {
      names[record.file] = record.name;
      const bool made = record.mode == static_cast<uint8_t>(io::OpenMode::kCreate);
      if (made) begun.erase(record.name);
      summary.snapshots += made && record.name.ends_with(".snap") ? 1 : 0;
    }
    summary.files_removed += record.op == io::TraceOp::kRemove ? 1 : 0;
    if (record.op != io::TraceOp::kDurableWrite) continue;
    ++summary.durable_writes;
    if (record.offset != 0) continue;
    ++summary.segments_begun;
    summary.segments_recycled += begun[names[record.file]]++ > 0 ? 1 : 0;
  }
  return summary;
}

}  // namespace metastore::crashtest
