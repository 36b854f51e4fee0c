#include "coordinator/http.h"

#include <httplib.h>

#include <charconv>
#include <thread>

namespace shoal::coordinator {

struct HttpServer::Impl {
  httplib::Server server;
  int port = 0;
  std::thread thread;
};

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const std::string& address, const Metrics& metrics,
                                                       std::function<bool()> ready) {
  const std::size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos) std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
  if (port < 0 || port > 65535)
    return Error(ErrorCode::kInvalid, "http = \"" + address + "\" is not HOST:PORT; write it like 127.0.0.1:7702");
  const std::string host = address.substr(0, colon);

  auto impl = std::make_unique<Impl>();
  httplib::Server& server = impl->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(2); };
  server.set_payload_max_length(4096);
  server.set_read_timeout(5);
  server.Get("/metrics", [&metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics.render(), "text/plain; version=0.0.4");
  });
  server.Get("/healthz",
             [](const httplib::Request&, httplib::Response& response) { response.set_content("ok\n", "text/plain"); });
  server.Get("/readyz", [ready = std::move(ready)](const httplib::Request&, httplib::Response& response) {
    const bool yes = ready();
    response.status = yes ? 200 : 503;
    response.set_content(yes ? "ready\n" : "not ready\n", "text/plain");
  });
  impl->port = port == 0 ? server.bind_to_any_port(host) : (server.bind_to_port(host, port) ? port : -1);
  if (impl->port < 0)
    return Error(ErrorCode::kUnavailable, "cannot listen on http://" + address + "; is another program using it?");
  impl->thread = std::thread([&server] { server.listen_after_bind(); });
  while (!server.is_running()) std::this_thread::yield();  // stop() only ends a server that runs
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->server.stop();
  impl_->thread.join();
}

int HttpServer::port() const { return impl_->port; }

}  // namespace shoal::coordinator
