#include "worker/serving/sequence_table.h"

#include <utility>

#include "monitoring/check.h"

namespace leadline::worker {

Sequence& SequenceTable::add(Sequence sequence) {
  sequence.id = SequenceId{next_};
  sequence.arrival = next_++;
  const bool fresh = by_request_.emplace(std::pair(sequence.link, sequence.request), sequence.id).second;
  LEADLINE_CHECK(fresh, "a request is in the sequence table twice");
  const SequenceId id = sequence.id;
  return sequences_.emplace(id, std::move(sequence)).first->second;
}

Sequence* SequenceTable::find(SequenceId id) {
  auto found = sequences_.find(id);
  return found == sequences_.end() ? nullptr : &found->second;
}

Sequence* SequenceTable::find(LinkId link, transport::RequestId request) {
  auto found = by_request_.find(std::pair(link, request));
  return found == by_request_.end() ? nullptr : find(found->second);
}

std::vector<SequenceId> SequenceTable::of_link(LinkId link) const {
  std::vector<SequenceId> ids;
  for (const auto& [id, sequence] : sequences_)
    if (sequence.link == link) ids.push_back(id);
  return ids;
}

void SequenceTable::erase(SequenceId id) {
  auto found = sequences_.find(id);
  LEADLINE_CHECK(found != sequences_.end(), "erasing a sequence that is not there");
  by_request_.erase(std::pair(found->second.link, found->second.request));
  sequences_.erase(found);
}

}  // namespace leadline::worker
