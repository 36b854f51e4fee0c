// The HTTP side of the service: /metrics for Prometheus, /healthz and /readyz for supervisors.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "coordinator/metrics.h"

namespace shoal::coordinator {

// Serves on threads of its own until destroyed.
class HttpServer {
 public:
  // `address` is HOST:PORT. `ready` is asked on server threads: may devices and users be sent here now? `metrics`
  // outlives the server. kUnavailable when the address cannot be bound.
  static Result<std::unique_ptr<HttpServer>> listen(const std::string& address, const Metrics& metrics,
                                                    std::function<bool()> ready);
  ~HttpServer();
  int port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::coordinator
