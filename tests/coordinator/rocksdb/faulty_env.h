// RocksDB on a FaultyFiles disk, so that journal, bodies and models crash together.
#pragma once

#include <rocksdb/env.h>

#include <memory>

#include "tests/support/faulty_files.h"

namespace shoal::tests {

// `disk` outlives the result.
std::unique_ptr<rocksdb::Env> faulty_env(FaultyFiles& disk);

}  // namespace shoal::tests
