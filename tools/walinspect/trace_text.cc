#include "tools/walinspect/trace_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace metastore::walinspect {
namespace {

constexpr std::string_view kBlank = " \t";

// Reads the words of a line one after the other; what is missing gives empty ones.
class Words final {
 public:
  explicit Words(std::string_view text) : rest_(text) {}
  std::string_view Next() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(kBlank), rest_.size()));
    const size_t end = std::min(rest_.find_first_of(kBlank), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return word;
  }
  // The word after the first `key` from here on.
  std::string_view After(std::string_view key) {
    while (true) {
      const std::string_view word = Next();
      if (word.empty()) return {};
      if (word == key) return Next();
    }
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

template <typename T>
bool ParseNumber(std::string_view text, T& value, int base = 10) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  return error == std::errc() && stopped == end && !text.empty();
}

// "254,0" or "254:0", with anything in parentheses around it.
bool ParseDevice(std::string_view text, uint64_t& device) {
  if (text.starts_with('(') && text.ends_with(')')) text = text.substr(1, text.size() - 2);
  const size_t middle = text.find_first_of(",:");
  if (middle == std::string_view::npos) return false;
  uint32_t major = 0;
  uint32_t minor = 0;
  if (!ParseNumber(text.substr(0, middle), major)) return false;
  if (!ParseNumber(text.substr(middle + 1), minor)) return false;
  device = uint64_t{major} << 32 | minor;
  return true;
}

// What io and device have to say: an optional F (flush first), the operation, then its properties,
// of which another F is "force unit access" and M metadata.
bool ParseOperation(std::string_view text, TraceEvent& event) {
  if (text.empty()) return false;
  const bool flush_first = text[0] == 'F' && text.size() > 1;
  const char operation = text[flush_first ? 1 : 0];
  event.flush = text[0] == 'F';
  event.write = operation == 'W';
  event.metadata = text.find('M') != std::string_view::npos;
  return event.write || event.flush;
}

// "SECTOR + COUNT", wherever it stands behind the operation: between them may be bytes and "()".
bool ParseSectors(std::string_view text, TraceEvent& event) {
  Words words(text);
  std::string_view before;
  for (std::string_view word = words.Next(); !word.empty(); word = words.Next()) {
    if (word == "+") {
      return ParseNumber(before, event.sector) && ParseNumber(words.Next(), event.sectors);
    }
    before = word;
  }
  return false;
}

bool ParseBlock(std::string_view text, TraceEvent& event) {
  Words words(text);
  return ParseDevice(words.Next(), event.device) && ParseOperation(words.Next(), event) &&
         ParseSectors(words.rest(), event);
}

// "254,0 WS 120329432 + 8 <- (253,1) 4096"
bool ParseRemap(std::string_view text, TraceEvent& event) {
  if (!ParseBlock(text, event)) return false;
  Words words(text);
  const std::string_view from = words.After("<-");
  return ParseDevice(from, event.from_device) && ParseNumber(words.Next(), event.from_sector);
}

// "dev 254,0 ino 11028690 ..." or "dev 254:0 ino 0xa848d2 ..."
bool ParseFile(std::string_view text, TraceEvent& event) {
  Words words(text);
  if (!ParseDevice(words.After("dev"), event.device)) return false;
  std::string_view inode = words.After("ino");
  if (inode.starts_with("0x")) return ParseNumber(inode.substr(2), event.inode, 16);
  return ParseNumber(inode, event.inode);
}

// "dev 254:0 ino 0xa848d2 size 0x4000000 offset 0x9000 flags DSYNC|DIRECT|WRITE aio 1 ..."
bool ParseWriteEnd(std::string_view text, TraceEvent& event) {
  Words words(text);
  event.durable = words.After("flags").find("SYNC") != std::string_view::npos;  // or DSYNC
  return ParseFile(text, event);
}

bool ParseSubmit(std::string_view text, TraceEvent&) {
  Words words(text);
  return words.After("opcode").starts_with("WRITE");
}

struct EventForm {
  std::string_view name;
  TraceKind kind;
  bool (*parse)(std::string_view text, TraceEvent& event);
};

constexpr std::array kForms = std::to_array<EventForm>({
    {"io_uring_submit_req", TraceKind::kSubmit, ParseSubmit},
    {"io_uring_submit_sqe", TraceKind::kSubmit, ParseSubmit},  // its name before 6.4
    {"block_bio_queue", TraceKind::kBioQueue, ParseBlock},
    {"block_bio_remap", TraceKind::kRemap, ParseRemap},
    {"block_rq_issue", TraceKind::kIssue, ParseBlock},
    {"block_rq_complete", TraceKind::kComplete, ParseBlock},
    {"ext4_sync_file_enter", TraceKind::kSyncBegin, ParseFile},
    {"ext4_sync_file_exit", TraceKind::kSyncEnd, ParseFile},
    {"xfs_file_fsync", TraceKind::kSyncBegin, ParseFile},
    {"iomap_dio_complete", TraceKind::kWriteEnd, ParseWriteEnd},
});

// "12230.257191" in ns; fractions of up to nine digits.
bool ParseTime(std::string_view text, int64_t& ns) {
  const size_t point = text.find('.');
  if (point == std::string_view::npos) return false;
  const std::string_view digits = text.substr(point + 1);
  uint32_t seconds = 0;
  uint32_t fraction = 0;
  if (digits.size() > 9 || !ParseNumber(text.substr(0, point), seconds)) return false;
  if (!ParseNumber(digits, fraction)) return false;
  int64_t scaled = fraction;
  for (size_t i = digits.size(); i < 9; ++i) scaled *= 10;
  ns = int64_t{seconds} * 1'000'000'000 + scaled;
  return true;
}

// "CPU:1 [LOST 1234 EVENTS]"
bool ParseLost(std::string_view line, TraceEvent& event) {
  constexpr std::string_view kMark = "[LOST ";
  const size_t mark = line.find(kMark);
  if (!line.starts_with("CPU:") || mark == std::string_view::npos) return false;
  Words words(line.substr(mark + kMark.size()));
  event.kind = TraceKind::kLost;
  return ParseNumber(words.Next(), event.sectors);
}

// Where the "[000]" of the processor stands: the first bracket with digits only. A task's name may
// have blanks and brackets of its own.
size_t FindProcessor(std::string_view line) {
  for (size_t at = line.find(" ["); at != std::string_view::npos; at = line.find(" [", at + 1)) {
    const size_t end = line.find(']', at);
    uint32_t processor = 0;
    if (end != std::string_view::npos && ParseNumber(line.substr(at + 2, end - at - 2), processor))
      return at;
  }
  return std::string_view::npos;
}

// "  task name-1234   " before the processor
bool ParseTask(std::string_view text, TraceEvent& event) {
  const size_t first = text.find_first_not_of(kBlank);
  const size_t last = text.find_last_not_of(kBlank);
  if (first == std::string_view::npos) return false;
  text = text.substr(first, last + 1 - first);
  const size_t dash = text.rfind('-');
  if (dash == std::string_view::npos || !ParseNumber(text.substr(dash + 1), event.thread)) {
    return false;
  }
  event.task = text.substr(0, dash);
  return true;
}

}  // namespace

std::optional<TraceEvent> ParseTraceLine(std::string_view line) {
  TraceEvent event;
  if (ParseLost(line, event)) return event;
  const size_t processor = FindProcessor(line);
  if (processor == std::string_view::npos) return std::nullopt;
  Words words(line.substr(processor));
  words.Next();  // [000]
  std::string_view time = words.Next();
  if (!time.ends_with(':')) time = words.Next();  // flags come before it
  std::string_view name = words.Next();
  if (!time.ends_with(':') || !name.ends_with(':')) return std::nullopt;
  time.remove_suffix(1);
  name.remove_suffix(1);
  const auto* form = std::ranges::find(kForms, name, &EventForm::name);
  if (form == kForms.end()) return std::nullopt;
  event.kind = form->kind;
  const bool parsed = ParseTime(time, event.at_ns) && ParseTask(line.substr(0, processor), event) &&
                      form->parse(words.rest(), event);
  if (!parsed) return std::nullopt;
  return event;
}

std::vector<TraceEvent> ParseTrace(std::string_view text) {
  std::vector<TraceEvent> events;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::optional<TraceEvent> event = ParseTraceLine(text.substr(0, end));
    if (event) {
      event->place = events.size();
      events.push_back(std::move(*event));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::ranges::sort(events, {},
                    [](const TraceEvent& event) { return std::pair(event.at_ns, event.place); });
  return events;
}

}  // namespace metastore::walinspect
