#include "cli/heap.h"

#include <malloc.h>

namespace shoal::cli {

void keep_heap_steady() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_ARENA_MAX, 2);
}

}  // namespace shoal::cli
