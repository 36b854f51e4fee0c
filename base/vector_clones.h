// SHOAL_VECTOR_CLONES on a plain loop: compiled for several instruction sets, the processor's best is bound at load.
//
// Only for loops of elementwise IEEE operations without contraction (-ffp-contract=off), whose results are the same
// bits on every instruction set. Off under sanitizers, which cannot run a resolver before they are initialised.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define SHOAL_VECTOR_CLONES __attribute__((target_clones("default", "avx2", "arch=skylake-avx512")))
#else
#define SHOAL_VECTOR_CLONES
#endif
