#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <thread>
#include <unordered_map>
#include <utility>

#include "protocol/zmq/bulk.h"
#include "protocol/zmq/bulk_link.h"
#include "protocol/zmq/chunk_buffers.h"
#include "protocol/zmq/router.h"
#include "protocol/zmq/ticket_desk.h"
#include "protocol/zmq/transfer.h"
#include "protocol/zmq/zap.h"

namespace shoal::protocol::zmq {
namespace {

constexpr Duration kHandshakeLimit = std::chrono::seconds(10);
constexpr Duration kSweepInterval = std::chrono::milliseconds(100);
constexpr Duration kIdleWait = std::chrono::seconds(60);
constexpr int kMessagesPerTurn = 64;
// A peer that acknowledges nothing for so long is disconnected by TCP itself.
constexpr int kTcpPatienceMs = 120'000;

class SteadyClock final : public Clock {
 public:
  Time now() const override { return Time(std::chrono::steady_clock::now().time_since_epoch()); }
};

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
        link_(make_bulk_router(context_), true, options.window),
        budget_(options.chunks_in_flight, options.window) {}

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

  Result<Ticket> offer_download(const ObjectInfo& object, std::shared_ptr<ChunkSource> source, Duration validity) override {
    auto offer = std::make_shared<Offer>();
    offer->source = std::move(source);
    return issue(std::move(offer), object, validity);
  }

  Result<Ticket> offer_upload(const ObjectInfo& object, std::uint32_t first_chunk, std::shared_ptr<ChunkSink> sink,
                              Duration validity) override {
    if (first_chunk > object.chunks()) return Error(ErrorCode::kInvalid, "an upload cannot start beyond its object's end");
    auto offer = std::make_shared<Offer>();
    offer->first_chunk = first_chunk;
    offer->sink = std::move(sink);
    return issue(std::move(offer), object, validity);
  }

  void withdraw(const std::string& user) override {
    const std::shared_ptr<Offer> offer = tickets_.remove(user);
    if (!offer) return;
    if (std::this_thread::get_id() == thread_.get_id()) {
      offer->withdrawn = true;  // from within its own source or sink, or another's: nobody else holds `busy`
    } else {
      const std::lock_guard lock(offer->busy);
      offer->withdrawn = true;
    }
    waker_.wake();
  }

  BulkCounters counters() const override {
    BulkCounters counters = link_.counters();
    counters.handshakes_denied = zap_.denied();
    return counters;
  }

  std::string endpoint() const override { return endpoint_; }

 private:
  using Transfers = std::unordered_map<std::string, Transfer>;

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
    if (!tickets_.admit(request.credentials[0], request.credentials[1], clock_.now())) return std::nullopt;
    return std::string(request.credentials[0]);
  }

  // ---- the bulk thread ----

  void serve() {
    std::array items{readable(link_.socket()), readable(waker_)};
    while (!stopping_) {
      poll(items, transfers_.empty() && tickets_.empty() ? kIdleWait : kSweepInterval);
      waker_.drain();
      // Bounded, so that a busy socket does not keep sweeps from happening.
      for (int i = 0; i < kMessagesPerTurn && !stopping_; ++i) {
        auto received = link_.receive();
        if (!received) break;
        if (auto* malformed = std::get_if<BulkLink::Malformed>(&*received)) {
          fail(malformed->route, BulkFailure::kGrammar, malformed->error.to_string());
        } else {
          take(std::get<BulkMessage>(std::move(*received)));
        }
      }
      sweep();
    }
  }

  void take(BulkMessage message) {
    auto found = transfers_.find(message.route);
    if (found == transfers_.end()) {
      // What still comes after a transfer's end is dropped; only an opening is worth an answer.
      if (message.frame.kind != BulkKind::kPut && message.frame.kind != BulkKind::kAck) return;
      auto offer = tickets_.start(message.user);
      if (!offer) return fail(message.route, BulkFailure::kWithdrawn, "the ticket is not valid any more");
      found = open(message.route, std::move(offer));
    }
    Transfer& transfer = found->second;
    switch (message.frame.kind) {
      case BulkKind::kPut: return take_put(transfer);
      case BulkKind::kAck: return take_ack(transfer, message.frame);
      case BulkKind::kChunk: return take_chunk(transfer, message);
      case BulkKind::kDone: return take_done(transfer, message.frame);
      case BulkKind::kFailed: return end(found);
    }
  }

  Transfers::iterator open(const std::string& route, std::shared_ptr<Offer> offer) {
    Transfer transfer;
    transfer.route = route;
    transfer.chunks = offer->object.chunks();
    transfer.next = transfer.granted = offer->first_chunk;
    transfer.offer = std::move(offer);
    transfer.progress = clock_.now();
    budget_.join(transfer);
    return transfers_.emplace(route, std::move(transfer)).first;
  }

  void take_put(Transfer& transfer) {
    if (!transfer.upload() || transfer.opened) return refuse_order(transfer);
    transfer.opened = true;
    if (transfer.next == transfer.chunks) return complete(transfer);
    budget_.top_up(transfer);
    acknowledge(transfer);
  }

  // The client of a download holds everything before `index`; the first one says where it starts.
  void take_ack(Transfer& transfer, const BulkFrame& frame) {
    if (transfer.upload() || frame.index > transfer.chunks) return refuse_order(transfer);
    if (!transfer.opened) {
      transfer.opened = true;
      transfer.next = transfer.granted = transfer.sent = frame.index;
    } else if (frame.index < transfer.next || frame.index > transfer.sent) {
      return refuse_order(transfer);
    }
    if (frame.index > transfer.next) transfer.progress = clock_.now();
    budget_.advance(transfer, frame.index);
    transfer.wanted = std::min(transfer.chunks, frame.index + frame.window);
    budget_.top_up(transfer);
    pump(transfer);
    serve_waiting();
  }

  void take_chunk(Transfer& transfer, const BulkMessage& message) {
    const std::uint32_t chunk = message.frame.index;
    if (!transfer.upload() || chunk != transfer.next || chunk >= transfer.granted) return refuse_order(transfer);
    if (message.frame.size != transfer.offer->object.sealed_bytes(chunk))
      return fail(transfer.route, BulkFailure::kGrammar, "chunk " + std::to_string(chunk) + " has the wrong size");
    Status written;
    {
      const std::lock_guard lock(transfer.offer->busy);
      if (transfer.offer->withdrawn) return;  // the sweep tells the client
      written = transfer.offer->sink->write(chunk, message.body.bytes());
    }
    if (!written.ok()) return fail(transfer.route, BulkFailure::kStorage, "the other side could not store a chunk");
    transfer.progress = clock_.now();
    budget_.advance(transfer, chunk + 1);
    if (transfer.next == transfer.chunks) {
      complete(transfer);
    } else {
      budget_.top_up(transfer);
      acknowledge(transfer);
    }
    serve_waiting();
  }

  void take_done(Transfer& transfer, const BulkFrame& frame) {
    if (transfer.upload() || frame.index != transfer.chunks) return refuse_order(transfer);
    end(transfers_.find(transfer.route));
  }

  void complete(Transfer& transfer) {
    {
      const std::lock_guard lock(transfer.offer->busy);
      if (transfer.offer->withdrawn) return;
      transfer.offer->sink->complete();
    }
    link_.send(transfer.route, {BulkKind::kDone, transfer.chunks, 0, 0});
    end(transfers_.find(transfer.route));
  }

  void acknowledge(Transfer& transfer) {
    const std::uint32_t window = transfer.granted - transfer.next;
    if (window == 0) wait_for_room(transfer);
    if (link_.send(transfer.route, {BulkKind::kAck, transfer.next, window, 0}) != SendResult::kSent)
      end(transfers_.find(transfer.route));
  }

  // Sends a download's chunks as far as client and budget allow.
  void pump(Transfer& transfer) {
    while (transfer.sent < std::min(transfer.granted, transfer.wanted)) {
      std::vector<std::byte> chunk = buffers_->take();
      Status read;
      {
        const std::lock_guard lock(transfer.offer->busy);
        if (transfer.offer->withdrawn) return;
        read = transfer.offer->source->read(transfer.sent, chunk);
      }
      if (read.ok() && chunk.size() != transfer.offer->object.sealed_bytes(transfer.sent))
        read = Error(ErrorCode::kCorrupt, "a stored chunk has the wrong size");
      if (!read.ok()) return fail(transfer.route, BulkFailure::kStorage, "the other side could not read a chunk");
      const BulkFrame frame{BulkKind::kChunk, transfer.sent, 0, static_cast<std::uint32_t>(chunk.size())};
      if (link_.send(transfer.route, frame, buffers_->lend(std::move(chunk))) != SendResult::kSent)
        return end(transfers_.find(transfer.route));
      ++transfer.sent;
    }
    if (transfer.granted == transfer.next && transfer.next < transfer.chunks) wait_for_room(transfer);
  }

  void wait_for_room(Transfer& transfer) {
    if (transfer.waiting) return;
    transfer.waiting = true;
    waiting_.push_back(transfer.route);
  }

  // Room came free: those without any go first.
  void serve_waiting() {
    while (budget_.free() > 0 && !waiting_.empty()) {
      const auto found = transfers_.find(waiting_.front());
      waiting_.pop_front();
      if (found == transfers_.end()) continue;
      Transfer& transfer = found->second;
      transfer.waiting = false;
      budget_.top_up(transfer);
      transfer.progress = clock_.now();  // it was not the client that stalled
      transfer.upload() ? acknowledge(transfer) : pump(transfer);
    }
  }

  void refuse_order(Transfer& transfer) { fail(transfer.route, BulkFailure::kGrammar, "a bulk message out of order"); }

  // By value: the route may live in the transfer that ends.
  void fail(std::string route, BulkFailure failure, std::string_view text) {
    link_.send_failed(route, failure, text);
    const auto found = transfers_.find(route);
    if (found != transfers_.end()) end(found);
  }

  void end(Transfers::iterator ended) {
    Transfer transfer = std::move(ended->second);
    transfers_.erase(ended);
    budget_.leave(transfer);
    tickets_.remove(transfer.offer->user);
  }

  void sweep() {
    const Time now = clock_.now();
    if (now - swept_ < kSweepInterval && !withdrawn_) return;
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

  // Of the bulk thread.
  Transfers transfers_;
  ChunkBudget budget_;
  std::deque<std::string> waiting_;
  std::shared_ptr<ChunkBuffers> buffers_ = ChunkBuffers::make(kMaxBulkWindow);

  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace
