// A set of devices by number: insert, erase and pick by rank in O(log n), for fleets of millions.
//
// Device numbers are dense, so a bitmap holds the members, and a Fenwick tree over its words counts them: about 1.5
// bits of memory a device.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/ids.h"

namespace shoal::coordinator {

// Ascending by number.
class DeviceSet {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = DeviceId;
    using difference_type = std::ptrdiff_t;
    using pointer = const DeviceId*;
    using reference = DeviceId;

    Iterator(const std::vector<std::uint64_t>& words, std::size_t word) : words_(&words), word_(word) {
      settle(word < words.size() ? words[word] : 0);
    }
    DeviceId operator*() const { return DeviceId{word_ * 64 + static_cast<std::uint64_t>(std::countr_zero(left_))}; }
    Iterator& operator++() {
      settle(left_ & (left_ - 1));
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.word_ == b.word_ && a.left_ == b.left_; }

   private:
    // Goes on to the next word with members.
    void settle(std::uint64_t left) {
      left_ = left;
      while (left_ == 0 && word_ < words_->size())
        if (++word_ < words_->size()) left_ = (*words_)[word_];
    }
    const std::vector<std::uint64_t>* words_;
    std::size_t word_;
    std::uint64_t left_ = 0;  // members of the word from here on
  };

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool contains(DeviceId id) const {
    return id.value / 64 < words_.size() && ((words_[id.value / 64] >> (id.value % 64)) & 1) != 0;
  }
  // Whether the set changed.
  bool insert(DeviceId id);
  bool erase(DeviceId id);
  // The member of this rank, 0 for the smallest; rank < size() (checked).
  DeviceId operator[](std::size_t rank) const;

  Iterator begin() const { return {words_, 0}; }
  Iterator end() const { return {words_, words_.size()}; }

 private:
  void count(std::size_t word, std::int32_t change);
  void grow(std::size_t words);

  std::vector<std::uint64_t> words_;  // bit i of word w: device 64 w + i; as many as a power of two
  std::vector<std::uint32_t> tree_;   // Fenwick tree of the words' members; tree_[i - 1] is its node i
  std::size_t size_ = 0;
};

}  // namespace shoal::coordinator
