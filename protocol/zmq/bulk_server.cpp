#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/steady_clock.h"
#include "protocol/zmq/bulk.h"
#include "protocol/zmq/bulk_link.h"
#include "protocol/zmq/router.h"
#include "protocol/zmq/ticket_desk.h"
#include "protocol/zmq/transfer_table.h"
#include "protocol/zmq/zap.h"

namespace shoal::protocol::zmq {
namespace {

constexpr Duration kHandshakeLimit = std::chrono::seconds(10);
constexpr Duration kSweepInterval = std::chrono::milliseconds(100);
constexpr Duration kIdleWait = std::chrono::minutes(1);
constexpr int kMessagesPerTurn = 64;
// A peer that acknowledges nothing for so long is disconnected by TCP itself.
constexpr int kTcpPatienceMs = 120'000;

Socket make_bulk_router(Context& context) {
  Socket router = make_router(context, kHandshakeLimit);
  router.set(ZMQ_PLAIN_SERVER, 1);
  router.set(ZMQ_TCP_MAXRT, kTcpPatienceMs);
  return router;
}

class Server final : public BulkServer {
 public:
  explicit Server(const BulkServerOptions& options)
      : options_(options),
        clock_(options.clock != nullptr ? *options.clock : steady_),
        zap_(context_, [this](const HandshakeRequest& request) { return admit(request); }),
        link_(make_bulk_router(context_), true, options.window) {}

  ~Server() override {
    stopping_ = true;
    waker_.wake();
    if (thread_.joinable()) thread_.join();
  }

  Status start() {
    SHOAL_TRY(link_.socket().bind(options_.endpoint));
    endpoint_ = link_.socket().last_endpoint();
    thread_ = std::thread([this] { serve(); });
    return {};
  }

  Result<Ticket> offer_download(const ObjectInfo& object, std::shared_ptr<ChunkSource> source, Duration validity,
                                Account account) override {
    auto offer = std::make_shared<Offer>();
    offer->account = account;
    offer->source = std::move(source);
    return issue(std::move(offer), object, validity);
  }

  Result<Ticket> offer_upload(const ObjectInfo& object, std::uint32_t first_chunk, std::shared_ptr<ChunkSink> sink,
                              Duration validity, Account account) override {
    if (first_chunk > object.chunks())
      return Error(ErrorCode::kInvalid, "an upload cannot start beyond its object's end");
    auto offer = std::make_shared<Offer>();
    offer->account = account;
    offer->first_chunk = first_chunk;
    offer->sink = std::move(sink);
    return issue(std::move(offer), object, validity);
  }

  void withdraw(const std::string& user) override {
    const std::shared_ptr<Offer> offer = tickets_.remove(user);
    if (!offer) return;
    offer->withdrawn = true;
    // A call that is on its way ends first; one of our own thread is the caller's.
    if (std::this_thread::get_id() != thread_.get_id()) const std::lock_guard wait(offer->busy);
    waker_.wake();
  }

  BulkCounters counters() const override {
    BulkCounters counters = link_.counters();
    counters.handshakes_denied = zap_.denied();
    return counters;
  }

  std::map<Account, Traffic> take_traffic() override { return link_.take_traffic(); }
  std::string endpoint() const override { return endpoint_; }

 private:
  Result<Ticket> issue(std::shared_ptr<Offer> offer, const ObjectInfo& object, Duration validity) {
    offer->object = object;
    offer->object.key.fill(0);
    SHOAL_TRY_ASSIGN(Ticket ticket, tickets_.issue(std::move(offer), clock_.now(), validity));
    ticket.endpoint = options_.advertised.empty() ? endpoint_ : options_.advertised;
    waker_.wake();  // there is something to sweep from now on
    return ticket;
  }

  // On the handshake thread.
  std::optional<std::string> admit(const HandshakeRequest& request) {
    if (request.mechanism != "PLAIN" || request.credentials.size() != 2) return std::nullopt;
    const auto account = tickets_.admit(request.credentials[0], request.credentials[1], clock_.now());
    if (!account) return std::nullopt;
    return user_id(*account, request.credentials[0]);
  }

  // The bulk thread.
  void serve() {
    TransferTable transfers(link_, tickets_, clock_, ChunkBudget(options_.chunks_in_flight, options_.window));
    std::array items{readable(link_.socket()), readable(waker_)};
    auto swept = std::chrono::steady_clock::now();
    while (!stopping_) {
      // Bounded, so that a busy socket does not keep sweeps from happening.
      bool more = true;
      for (int i = 0; i < kMessagesPerTurn && more && !stopping_; ++i) {
        auto received = link_.receive();
        more = received.has_value();
        if (!more) break;
        std::visit([&](auto&& message) { transfers.take(std::move(message)); }, std::move(*received));
        transfers.serve_waiting();
      }
      const auto now = std::chrono::steady_clock::now();
      if (has_news(items[1]) || now - swept >= kSweepInterval) {
        if (has_news(items[1])) waker_.drain();
        items[1].revents = 0;
        swept = now;
        tickets_.sweep(clock_.now(), options_.stall);
        transfers.sweep(options_.stall);
        transfers.serve_waiting();  // may send, so that the socket is looked at once more
      } else if (!more) {
        wait(items, transfers.empty() && tickets_.empty() ? kIdleWait : kSweepInterval);
      }
    }
  }

  const BulkServerOptions options_;
  const SteadyClock steady_;
  const Clock& clock_;
  TicketDesk tickets_;
  std::string endpoint_;

  // In this order, since the handshake thread must outlive the socket, and the context both.
  Context context_;
  ZapHandler zap_;
  BulkLink link_;

  Waker waker_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<BulkServer>> make_bulk_server(BulkServerOptions options) {
  if (options.window < 1 || options.window > kMaxBulkWindow || options.chunks_in_flight < 1)
    return Error(ErrorCode::kInvalid, "the bulk window must be 1 to " + std::to_string(kMaxBulkWindow) + " chunks");
  auto server = std::make_unique<Server>(options);
  SHOAL_TRY(server->start());
  return std::unique_ptr<BulkServer>(std::move(server));
}

}  // namespace shoal::protocol::zmq
