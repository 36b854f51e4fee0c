// The formats behind read_dataset, one function each; they take bytes, so that tests and fuzzers need no files.
//
// All of them: kCorrupt or kInvalid name the source and the byte, row or tensor; kExhausted when the data need more
// than `memory_limit`; memory grows with the bytes that are really there, not with what a header claims.
#pragma once

#include "base/result.h"
#include "client/data/byte_source.h"
#include "client/data/dataset.h"

namespace shoal::client::data {

// IDX (MNIST): images [rows, height, width], [rows, channels, height, width] or [rows, features] of uint8 or float32,
// and labels [rows] of uint8. Classes: the largest label plus one.
Result<Dataset> read_idx(ByteSource& images, ByteSource& labels, Bytes memory_limit);

// CIFAR-10 binary: records of one label byte and 3 x 32 x 32 pixels, appended to `dataset` (empty or from earlier
// files).
Status read_cifar(ByteSource& records, Bytes memory_limit, Dataset& dataset);

// CSV with a header line; quoted cells as in RFC 4180, but no line breaks inside. Labels are options.class_names, or
// integers from 0, or else any words, numbered in sorted order.
Result<Dataset> read_csv(ByteSource& text, const ReadOptions& options);

// Text in the characters of characters.h: example i are options.window of them from i * options.window_step on, its
// class the next one. Where the first line is "NAME:", as in a play, each such line after an empty one begins a speech;
// a speaker's speeches are one text and one natural client, unless it is not longer than a window. kInvalid for what is
// no text or too short.
Result<Dataset> read_text(ByteSource& text, const ReadOptions& options);

// Safetensors, from a file since its tensors are read in place: `x` (uint8 pixels, or numbers), `y` and perhaps
// `groups`.
Result<Dataset> read_safetensors_data(const std::string& path, const ReadOptions& options);

}  // namespace shoal::client::data
