#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include "protocol/zmq/bulk.h"
#include "protocol/zmq/bulk_link.h"
#include "protocol/zmq/chunk_buffers.h"
#include "protocol/zmq/connection.h"

namespace shoal::protocol::zmq {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr Duration kAskInterval = std::chrono::milliseconds(100);  // between two calls of keep_going()
constexpr int kGiveUpStepMs = 50;
constexpr int kLingerMs = 1000;  // for the last done or failed to leave

Error grammar_error(const std::string& what) { return Error(ErrorCode::kCorrupt, "the bulk server sent " + what); }

// What the server's last word means for the caller.
Error failure(const BulkMessage& message) {
  const std::string text = "the bulk server ended the transfer: " + std::string(message.body.text());
  switch (static_cast<BulkFailure>(message.frame.index)) {
    case BulkFailure::kGrammar:
    case BulkFailure::kUnsealable: return Error(ErrorCode::kCorrupt, text);
    case BulkFailure::kStalled: return Error(ErrorCode::kTimeout, text);
    case BulkFailure::kWithdrawn: return Error(ErrorCode::kDenied, text);
    case BulkFailure::kStorage: return Error(ErrorCode::kExhausted, text);
    case BulkFailure::kAbandoned: break;
  }
  return Error(ErrorCode::kFailed, text);
}

Socket make_dealer(Context& context, const Ticket& ticket) {
  Socket dealer(context, ZMQ_DEALER);
  dealer.set(ZMQ_PLAIN_USERNAME, std::string_view(ticket.user));
  dealer.set(ZMQ_PLAIN_PASSWORD, std::string_view(ticket.secret));
  dealer.set(ZMQ_LINGER, kLingerMs);
  return dealer;
}

// A connection to a bulk server, made with a first ticket, for one transfer after the other.
class Connection {
 public:
  static Result<std::unique_ptr<Connection>> make(Context& context, const Ticket& ticket,
                                                  const BulkClientOptions& options) {
    std::unique_ptr<Connection> connection(new Connection(make_dealer(context, ticket), ticket.endpoint, options));
    SHOAL_TRY_ASSIGN(auto watch, ConnectionWatch::connect(context, connection->link_.socket(), ticket.endpoint,
                                                          options.connect_limit));
    connection->watch_.emplace(std::move(watch));
    return connection;
  }

  BulkLink& link() { return link_; }
  const BulkLink& link() const { return link_; }
  const std::string& endpoint() const { return endpoint_; }

  // Why the connection ended, nullopt while it has not.
  const std::optional<Error>& down() const { return down_; }
  // A message that is there already, counted.
  std::optional<BulkLink::Received> receive() {
    auto received = link_.receive();
    if (received) std::visit([this](const auto& message) { link_.count({}, message); }, *received);
    return received;
  }
  // Waits for a message or the connection's end.
  void wait_for_news(Duration limit) {
    std::array items{readable(link_.socket()), watch_->readable_item()};
    wait(items, limit);
    if (has_news(items[1]) || !watch_->connected()) look_at_connection();
  }
  // Between two transfers the server says nothing: whatever there is came too late for the last one.
  bool idle() {
    look_at_connection();
    return !down_ && !receive();
  }

 private:
  Connection(Socket dealer, std::string endpoint, const BulkClientOptions& options)
      : link_(std::move(dealer), false, options.window), endpoint_(std::move(endpoint)) {}

  void look_at_connection() {
    while (auto event = watch_->next()) {
      const auto* down = std::get_if<Disconnected>(&*event);
      if (down == nullptr) continue;
      link_.socket().set(ZMQ_LINGER, 0);  // nothing can leave any more
      down_ = Error(down->denied ? ErrorCode::kDenied : ErrorCode::kUnavailable, down->reason);
    }
  }

  BulkLink link_;
  std::optional<ConnectionWatch> watch_;
  const std::string endpoint_;
  std::optional<Error> down_;
};

// One transfer on a connection, and what both directions share: opening, waiting, stalling, giving up.
class Session {
 public:
  // `ticket` opens the transfer; null where the handshake has shown it.
  Session(Connection& connection, const Ticket* ticket, Duration stall, const std::function<bool()>& keep_going)
      : connection_(connection), ticket_(ticket), stall_(stall), keep_going_(keep_going) {}

  BulkLink& link() { return connection_.link(); }
  // From now on a caller who gives up waits a moment for the server's done: it saves the connection.
  void all_sent() { all_sent_ = true; }
  void made_progress() { progress_ = std::chrono::steady_clock::now(); }
  // The connection ended before the server said a word of this transfer.
  bool unheard() const { return connection_.down() && !heard_; }

  // The transfer's first message.
  void open(BulkFrame frame) {
    Message body;
    if (ticket_ != nullptr) {
      const std::string bytes = encode(BulkTicket{ticket_->user, ticket_->secret});
      frame.size = static_cast<std::uint32_t>(bytes.size());
      body = Message(std::string_view(bytes));
    }
    link().send({}, frame, std::move(body));
  }

  // A message of the server that is there already, in its grammar and not `failed`.
  Result<std::optional<BulkMessage>> poll_once() {
    if (auto received = connection_.receive()) return accept(std::move(*received));
    return std::optional<BulkMessage>();
  }

  // The next one, waited for. `until_writable`: nullopt as soon as something can be sent.
  Result<std::optional<BulkMessage>> next(bool until_writable) {
    for (;;) {
      const bool writable = until_writable && link().socket().writable();
      if (auto received = connection_.receive()) return accept(std::move(*received));
      if (connection_.down()) return Error(*connection_.down());  // after what the server said last
      if (writable) return std::optional<BulkMessage>();
      connection_.wait_for_news(kAskInterval);
      SHOAL_TRY(check_patience());
    }
  }

  // Tells the server that nothing more will come, behind whatever chunks still wait to leave.
  Error give_up(Error error) {
    for (int waited = 0; waited < kLingerMs; waited += kGiveUpStepMs) {
      if (link().send_failed({}, BulkFailure::kAbandoned, "the client gave up") != SendResult::kFull) break;
      std::array items{readable(link().socket())};
      wait(items, std::chrono::milliseconds(kGiveUpStepMs));
    }
    return error;
  }

 private:
  Result<std::optional<BulkMessage>> accept(BulkLink::Received received) {
    heard_ = true;
    if (auto* malformed = std::get_if<BulkLink::Malformed>(&received))
      return std::move(malformed->error).because_of_this("the bulk server broke the protocol");
    BulkMessage message = std::get<BulkMessage>(std::move(received));
    if (message.frame.kind == BulkKind::kFailed) return failure(message);
    return std::optional(std::move(message));
  }

  Status check_patience() {
    if (std::chrono::steady_clock::now() - progress_ >= stall_)
      return give_up(Error(ErrorCode::kTimeout, "the transfer stalled: no chunk was finished for too long"));
    if (keep_going_()) return {};
    // What makes the caller give up an upload is often the receipt of it, which overtook the server's done.
    const SteadyTime now = std::chrono::steady_clock::now();
    if (all_sent_ && !asked_to_stop_) asked_to_stop_ = now;
    if (asked_to_stop_ && now - *asked_to_stop_ < std::chrono::milliseconds(kLingerMs)) return {};
    return give_up(Error(ErrorCode::kTimeout, "the transfer was given up"));
  }

  Connection& connection_;
  const Ticket* const ticket_;
  const Duration stall_;
  const std::function<bool()>& keep_going_;
  SteadyTime progress_ = std::chrono::steady_clock::now();
  bool heard_ = false, all_sent_ = false;
  std::optional<SteadyTime> asked_to_stop_;
};

Status receive_chunks(Session& session, const ObjectInfo& object, std::uint32_t first, std::uint32_t window,
                      ChunkSink& sink) {
  const std::uint32_t chunks = object.chunks();
  std::uint32_t told = first;
  const auto acknowledge = [&](std::uint32_t next) {
    session.link().send({}, {BulkKind::kAck, next, window, 0});
    told = next;
  };
  session.open({BulkKind::kAck, first, window, 0});
  for (std::uint32_t next = first; next < chunks;) {
    SHOAL_TRY_ASSIGN(std::optional<BulkMessage> message, session.poll_once());
    if (!message) {
      // The server may have sent all that it was allowed to.
      if (next > told) acknowledge(next);
      SHOAL_TRY_ASSIGN(message, session.next(false));
    }
    if (message->frame.kind != BulkKind::kChunk || message->frame.index != next)
      return session.give_up(grammar_error("a message out of order"));
    if (message->frame.size != object.sealed_bytes(next))
      return session.give_up(grammar_error("a chunk of the wrong size"));
    if (auto written = sink.write(next, message->body.bytes()); !written.ok())
      return session.give_up(std::move(written).error().because_of_this("cannot store chunk " + std::to_string(next)));
    session.made_progress();
    ++next;
    if (next < chunks && next - told >= (window + 1) / 2) acknowledge(next);
  }
  sink.complete();
  session.link().send({}, {BulkKind::kDone, chunks, 0, 0});
  return {};
}

// An upload's view of its own position: the server holds everything before `acknowledged`.
struct UploadProgress {
  std::uint32_t chunks = 0, acknowledged = 0, sent = 0, limit = 0;

  Status take_ack(const BulkFrame& frame) {
    if (frame.kind != BulkKind::kAck || frame.index < acknowledged || frame.index > sent)
      return grammar_error("a message out of order");
    acknowledged = frame.index;
    limit = std::min(chunks, frame.index + frame.window);
    return {};
  }
  bool may_send() const { return sent < limit; }
};

Result<bool> send_chunk(Session& session, const ObjectInfo& object, std::uint32_t index, ChunkSource& source,
                        ChunkBuffers& buffers) {
  std::vector<std::byte> chunk = buffers.take();
  if (auto read = source.read(index, chunk); !read.ok())
    return std::move(read).error().because_of_this("cannot read chunk " + std::to_string(index));
  SHOAL_CHECK(chunk.size() == object.sealed_bytes(index), "a source gave a chunk of the wrong size");
  const BulkFrame frame{BulkKind::kChunk, index, 0, static_cast<std::uint32_t>(chunk.size())};
  return session.link().send({}, frame, buffers.lend(std::move(chunk))) == SendResult::kSent;
}

Status send_chunks(Session& session, const ObjectInfo& object, std::uint32_t first, ChunkSource& source,
                   ChunkBuffers& buffers) {
  UploadProgress progress{object.chunks(), first, first, first};
  session.open({BulkKind::kPut, 0, 0, 0});
  for (;;) {
    // Everything that was heard is taken before more is said: an ack may widen the window, a failure ends it.
    SHOAL_TRY_ASSIGN(const std::optional<BulkMessage> message, session.next(progress.may_send()));
    if (message && message->frame.kind == BulkKind::kDone) {
      if (progress.sent == progress.chunks) return {};
      return session.give_up(grammar_error("a done before the end"));
    }
    if (message) {
      const std::uint32_t before = progress.acknowledged;
      if (auto taken = progress.take_ack(message->frame); !taken.ok()) return session.give_up(std::move(taken).error());
      if (progress.acknowledged > before) session.made_progress();
    } else if (progress.may_send()) {
      auto sent = send_chunk(session, object, progress.sent, source, buffers);
      if (!sent.ok()) return session.give_up(std::move(sent).error());
      if (*sent) ++progress.sent;
      if (progress.sent == progress.chunks) session.all_sent();
    }
  }
}

class Client final : public BulkClient {
 public:
  explicit Client(BulkClientOptions options) : options_(options), buffers_(ChunkBuffers::make(options.window)) {}

  Status download(const Ticket& ticket, const ObjectInfo& object, std::uint32_t first_chunk, ChunkSink& sink,
                  Duration stall, const std::function<bool()>& keep_going) override {
    return transfer(ticket, stall, keep_going, "cannot download", [&](Session& session) {
      return receive_chunks(session, object, first_chunk, options_.window, sink);
    });
  }

  Status upload(const Ticket& ticket, const ObjectInfo& object, std::uint32_t first_chunk, ChunkSource& source,
                Duration stall, const std::function<bool()>& keep_going) override {
    return transfer(ticket, stall, keep_going, "cannot upload",
                    [&](Session& session) { return send_chunks(session, object, first_chunk, source, *buffers_); });
  }

  void close_idle(Duration idle) override {
    if (connection_ && std::chrono::steady_clock::now() - used_ >= idle) close();
  }

  BulkCounters counters() const override { return connection_ ? sum(total_, connection_->link().counters()) : total_; }

 private:
  // On the kept connection where there is one, else on a new one, which is kept after a success.
  template <class Run>
  Status transfer(const Ticket& ticket, Duration stall, const std::function<bool()>& keep_going, const char* attempted,
                  Run run) {
    if (connection_ && (connection_->endpoint() != ticket.endpoint || !connection_->idle())) close();
    Status done;
    bool anew = !connection_;
    if (connection_) {
      Session session(*connection_, &ticket, stall, keep_going);
      done = run(session);
      // It was lost before anything happened. The ticket may be spent all the same; then the handshake is denied.
      anew = !done.ok() && session.unheard();
      if (!done.ok()) close();
    }
    if (anew) {
      SHOAL_TRY_ASSIGN(connection_, Connection::make(context_, ticket, options_));
      Session session(*connection_, nullptr, stall, keep_going);
      done = run(session);
    }
    used_ = std::chrono::steady_clock::now();
    if (done.ok()) return {};
    close();
    return std::move(done).error().because_of_this(attempted);
  }

  void close() {
    if (!connection_) return;
    total_ = sum(total_, connection_->link().counters());
    connection_.reset();
  }

  static BulkCounters sum(BulkCounters a, const BulkCounters& b) {
    a.chunks_received += b.chunks_received;
    a.chunks_sent += b.chunks_sent;
    a.bytes_received += b.bytes_received;
    a.bytes_sent += b.bytes_sent;
    return a;
  }

  const BulkClientOptions options_;
  Context context_;
  std::shared_ptr<ChunkBuffers> buffers_;
  std::unique_ptr<Connection> connection_;  // of the last transfer, when it succeeded
  SteadyTime used_;                         // when that one ended
  BulkCounters total_;                      // of closed connections
};

}  // namespace

std::unique_ptr<BulkClient> make_bulk_client(BulkClientOptions options) {
  options.window = std::clamp(options.window, 1u, kMaxBulkWindow);
  return std::make_unique<Client>(options);
}

}  // namespace shoal::protocol::zmq
