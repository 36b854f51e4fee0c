#include "cli/heap.h"

#include <malloc.h>

namespace shoal::cli {

void keep_heap_steady() {
  ::mallopt(M_MMAP_THRESHOLD, 320 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 32 << 20);
  ::mallopt(M_ARENA_MAX, 1);
}

}  // namespace shoal::cli
