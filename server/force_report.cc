#include "server/force_report.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "io/base/status.h"

namespace metastore::server {
namespace {

constexpr size_t kKeyBytesShown = 200;

std::string NameOf(const Member& member) {
  return Concat(member.name.empty() ? "(never started)" : member.name, " (",
                absl::Hex(member.id.value()), ", ", absl::StrJoin(member.peer_urls, " "),
                member.is_learner ? ", learner)" : ")");
}

std::string KeyOf(const DoubtfulChange& change) {
  const std::string shown = absl::CHexEscape(change.key.substr(0, kKeyBytesShown));
  return Concat("    revision ", change.revision.value(),
                change.deleted ? " deleted " : " put     ", "\"", shown, "\"",
                change.key.size() > kKeyBytesShown ? "..." : "", "\n");
}

std::string Part(const DoubtfulEntries& part, size_t listed_max) {
  std::string text = Concat("  entries ", part.first.value(), " to ", part.end.value() - 1, ", ");
  if (part.revision_after == part.revision_before) return text + "which change no key\n";
  text += Concat("revisions ", part.revision_before.value() + 1, " to ",
                 part.revision_after.value(), ", ", part.changes_count, " changes of keys:\n");
  const size_t listed = std::min(listed_max, part.changes.size());
  for (size_t i = 0; i < listed; ++i) text += KeyOf(part.changes[i]);
  const uint64_t unlisted = part.changes_count - listed;
  if (unlisted > 0) text += Concat("    and ", unlisted, " more\n");
  return text;
}

std::string Doubts(const ForceFacts& facts, size_t listed_max) {
  std::string text = Concat("This member knows entries up to ", facts.committed.value(),
                            " as committed, revision ", facts.taken.revision_before.value(), ".\n");
  if (facts.taken.count() == 0 && facts.left_out.count() == 0) {
    return text + "Its log has nothing beyond them.\n";
  }
  if (facts.taken.count() > 0) {
    text += "Beyond that, TAKEN OVER. Acknowledged or not, they count as committed from now on:\n";
    text += Part(facts.taken, listed_max);
  }
  if (facts.left_out.count() > 0) {
    text += "Beyond that, DROPPED, since the first of them removes this member; any of them that\n";
    text += "was acknowledged is lost:\n";
    text += Part(facts.left_out, listed_max);
  }
  return text;
}

}  // namespace

std::string ForceReport(const ForceFacts& facts, size_t listed_max) {
  std::string text = Concat("A new cluster of one member is forced (--force-new-cluster).\n\n",
                            "cluster    ", absl::Hex(facts.cluster.value()), ", as before\n",
                            "goes on    ", NameOf(facts.self), "\n");
  for (const Member& other : facts.others) text += Concat("taken out  ", NameOf(other), "\n");
  const LogIndex last = facts.taken.end - 1;
  text += Concat("last data  revision ", facts.taken.revision_after.value(), ", entry ",
                 last.value(), ", term ", facts.term.value(), "\n", "takes effect with entry ",
                 facts.forced_last.value(), "\n\n");
  text += Doubts(facts, listed_max);
  text += Concat(
      "\nWrites that the other members acknowledged and that never reached this one cannot be\n"
      "known from here. They are lost: whatever a client was told of a revision above ",
      facts.taken.revision_after.value(),
      "\nis no longer true, and those revisions will be given again.\n"
      "\nThe members taken out must not be started on their old data directories again: they "
      "would\n"
      "be a cluster of their own until they reach this member, which refuses them. Remove their\n"
      "data and add them as new members (member add).\n");
  return text;
}

}  // namespace metastore::server
