#include "coordinator/device_set.h"

#include "base/check.h"

namespace shoal::coordinator {

void DeviceSet::count(std::size_t word, std::int32_t change) {
  size_ += static_cast<std::size_t>(change);
  for (std::size_t i = word + 1; i <= tree_.size(); i += i & (0 - i))
    tree_[i - 1] += static_cast<std::uint32_t>(change);
}

// To the next power of two, so that doubling costs a constant a device in all.
void DeviceSet::grow(std::size_t words) {
  words_.resize(std::bit_ceil(words));
  tree_.assign(words_.size(), 0);
  size_ = 0;
  for (std::size_t w = 0; w < words_.size(); ++w)
    if (words_[w] != 0) count(w, std::popcount(words_[w]));
}

bool DeviceSet::insert(DeviceId id) {
  if (contains(id)) return false;
  const std::size_t word = id.value / 64;
  if (word >= words_.size()) grow(word + 1);
  words_[word] |= std::uint64_t{1} << (id.value % 64);
  count(word, 1);
  return true;
}

bool DeviceSet::erase(DeviceId id) {
  if (!contains(id)) return false;
  words_[id.value / 64] &= ~(std::uint64_t{1} << (id.value % 64));
  count(id.value / 64, -1);
  return true;
}

DeviceId DeviceSet::operator[](std::size_t rank) const {
  SHOAL_CHECK(rank < size_, "a device set has no member of this rank");
  // Down the tree: the largest prefix of words with at most `rank` members before it.
  std::size_t word = 0;
  for (std::size_t step = tree_.size(); step > 0; step /= 2) {
    if (word + step > tree_.size() || tree_[word + step - 1] > rank) continue;
    rank -= tree_[word + step - 1];
    word += step;
  }
  std::uint64_t left = words_[word];
  for (; rank > 0; --rank) left &= left - 1;
  return DeviceId{word * 64 + static_cast<std::uint64_t>(std::countr_zero(left))};
}

}  // namespace shoal::coordinator
