// Training memory as the literature counts it, to compare what is measured with what is published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "client/training/graph.h"

namespace shoal::client::training {

struct PublishedMemory {
  std::size_t trained_parameters = 0, frozen_parameters = 0;  // counts
  std::size_t stored_bytes = 0;                               // of one example, kept for the backward pass
  std::size_t peak_bytes = 0;                                 // of one example, while the forward pass runs

  // 4 bytes a trained parameter, 1 a frozen one, and the examples' peaks.
  std::size_t total(std::uint32_t batch) const {
    return 4 * trained_parameters + frozen_parameters + std::size_t{batch} * peak_bytes;
  }
};

// The accounting of TinyTL (Cai et al. 2020). Neither gradients nor an optimizer's moments are counted, nor that the
// exact gradient of a frozen group norm needs the norm's input. It is about convolutions and knows no sequences.
PublishedMemory published_memory(const Graph& graph, const std::vector<bool>& trained);

}  // namespace shoal::client::training
