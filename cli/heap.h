// How the programs that move chunks use glibc's heap.
#pragma once

namespace shoal::cli {

// Before any thread is made. Blocks of a chunk's size are kept and used again, since fresh ones cost a page fault for
// every 4 KiB; larger ones go back to the kernel as they are freed; and all threads share two arenas, so that what one
// frees serves the others. By default glibc raises its threshold to the largest block that it has seen, and keeps what
// several threads freed in as many arenas: the peak of memory then grows for many rounds.
void keep_heap_steady();

}  // namespace shoal::cli
