// A fuzz target is one function over bytes: run by libFuzzer, and by corpus_test over saved inputs in every build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// FUZZ_TARGET(name) { use `input`; a violated SHOAL_CHECK is a finding }, in a file name.cpp that holds no other.
#ifdef SHOAL_LIBFUZZER
#define FUZZ_TARGET(name)                                                             \
  static void fuzz_##name(std::span<const std::byte> input);                          \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);  \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    fuzz_##name(std::as_bytes(std::span(data, size)));                                \
    return 0;                                                                         \
  }                                                                                   \
  static void fuzz_##name([[maybe_unused]] std::span<const std::byte> input)
#else
#define FUZZ_TARGET(name)                             \
  void fuzz_##name(std::span<const std::byte> input); \
  void fuzz_##name([[maybe_unused]] std::span<const std::byte> input)
#endif
