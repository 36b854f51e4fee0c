#include "coordinator/segment_index.h"

#include <span>
#include <utility>

namespace shoal::coordinator {

// Every block is looked at: that of a released body, or of one that never came to the disk, holds zeros or anything.
Result<std::vector<std::shared_ptr<Body>>> find_headers(const std::shared_ptr<Segment>& segment,
                                                        const Periods& periods) {
  constexpr std::size_t kBlocksRead = 256;
  std::vector<std::shared_ptr<Body>> found;
  std::vector<std::byte> read(kBlocksRead * kBlock);
  for (std::uint64_t base = 0; base < segment->capacity; base += read.size()) {
    SHOAL_TRY_ASSIGN(const std::size_t bytes, segment->file->read(base, read));
    for (std::uint64_t at = 0; at + kBlock <= bytes; at += kBlock) {
      const auto block = std::span<const std::byte>(read).subspan(at).first<kBlock>();
      const auto named = header_period(block);
      const auto period = named ? periods.find(*named) : periods.end();
      if (period == periods.end()) continue;
      const auto record = open_header(block, period->second->key, {segment->number, base + at});
      if (!record || extent_bytes(record->object) > segment->capacity - base - at) continue;
      auto body = std::make_shared<Body>();
      body->id = record->id;
      body->object = record->object;
      body->segment = segment;
      body->period = period->second;
      body->offset = base + at;
      body->counted = false;
      found.push_back(std::move(body));
    }
  }
  return found;
}

}  // namespace shoal::coordinator
