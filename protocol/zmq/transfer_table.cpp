#include "protocol/zmq/transfer_table.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace shoal::protocol::zmq {
namespace {

// A client hears of its progress when half of what it may send is used up, and at least so often while chunks arrive:
// it gives up a transfer without progress.
constexpr Duration kTellAgain = std::chrono::seconds(1);
constexpr std::size_t kIdleBuffers = 16;
// How long chunks that arrived before their connection ended may wait in the socket.
constexpr Duration kLastWords = std::chrono::seconds(2);

// What the client may know of a source's or sink's error.
std::pair<BulkFailure, std::string_view> told(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kCorrupt: return {BulkFailure::kUnsealable, "a chunk did not open with its key"};
    case ErrorCode::kExhausted: return {BulkFailure::kStorage, "the server has no room for the chunk"};
    default: return {BulkFailure::kAbandoned, "the server could not go on"};
  }
}

// Of a client's message: whether it may be the first of a transfer. An ack goes on with one, too.
bool opens(const BulkMessage& message) {
  return message.frame.kind == BulkKind::kPut || message.frame.kind == BulkKind::kAck;
}

}  // namespace

TransferTable::TransferTable(BulkLink& link, TicketDesk& tickets, const Clock& clock, ChunkBudget budget)
    : link_(link), tickets_(tickets), clock_(clock), budget_(budget), buffers_(ChunkBuffers::make(kIdleBuffers)) {}

void TransferTable::take(BulkMessage message) {
  if (const auto found = transfers_.find(message.route); found != transfers_.end()) {
    Transfer& transfer = found->second;
    link_.count(transfer.offer->account, message);
    if (opens(message) && message.frame.size > 0) return refuse(transfer.route, "a ticket while a transfer runs");
    return go_on(transfer, message);
  }
  std::shared_ptr<Offer> offer = opens(message) ? offer_of(message) : nullptr;
  link_.count(offer ? offer->account : message.account, message);
  if (offer) return go_on(begin(message.route, std::move(offer)), message);
  // What still comes after a transfer's end is dropped; only an opening is worth an answer.
  if (opens(message))
    link_.send_failed(message.route, BulkFailure::kWithdrawn, "the ticket is not valid any more", message.account);
}

void TransferTable::take(const BulkLink::Malformed& message) {
  const auto found = transfers_.find(message.route);
  const bool running = found != transfers_.end();
  link_.count(running ? found->second.offer->account : message.account, message);
  if (running) fail(message.route, BulkFailure::kGrammar, message.error.message());
}

std::shared_ptr<Offer> TransferTable::offer_of(const BulkMessage& opening) {
  if (opening.frame.size == 0) return tickets_.start(opening.user);
  const auto ticket = decode_bulk_ticket(opening.body.text());
  if (!ticket.ok()) return nullptr;
  return tickets_.start(ticket->user, ticket->secret, opening.account.device, clock_.now());
}

Transfer& TransferTable::begin(const std::string& route, std::shared_ptr<Offer> offer) {
  Transfer transfer;
  transfer.route = route;
  transfer.chunks = offer->object.chunks();
  transfer.next = transfer.granted = transfer.told = offer->first_chunk;
  transfer.offer = std::move(offer);
  transfer.progress = clock_.now();
  budget_.join();
  return transfers_.emplace(route, std::move(transfer)).first->second;
}

void TransferTable::go_on(Transfer& transfer, const BulkMessage& message) {
  if (transfer.offer->withdrawn) return fail(transfer.route, BulkFailure::kWithdrawn, "the ticket was withdrawn");
  switch (message.frame.kind) {
    case BulkKind::kPut: return take_put(transfer);
    case BulkKind::kAck: return take_ack(transfer, message.frame);
    case BulkKind::kChunk: return take_chunk(transfer, message);
    case BulkKind::kDone: return take_done(transfer, message.frame);
    case BulkKind::kFailed: return end(transfer.route);
  }
}

void TransferTable::take_put(Transfer& transfer) {
  if (!transfer.upload() || transfer.opened) return refuse(transfer.route, "a put that does not open an upload");
  transfer.opened = true;
  proceed(transfer);
}

void TransferTable::take_ack(Transfer& transfer, const BulkFrame& frame) {
  if (transfer.upload()) return refuse(transfer.route, "an ack from the sender");
  if (!transfer.opened) {
    if (frame.index > transfer.chunks) return refuse(transfer.route, "a start beyond the object's end");
    transfer.opened = true;
    transfer.next = transfer.granted = transfer.sent = frame.index;
  }
  if (frame.index < transfer.next || frame.index > transfer.sent) return refuse(transfer.route, "an ack out of order");
  if (frame.index > transfer.next) transfer.progress = clock_.now();
  budget_.advance(transfer, frame.index);
  transfer.wanted = std::min(transfer.chunks, frame.index + frame.window);
  proceed(transfer);
}

void TransferTable::take_chunk(Transfer& transfer, const BulkMessage& message) {
  const std::uint32_t chunk = message.frame.index;
  if (!transfer.upload() || chunk != transfer.next || chunk >= transfer.granted)
    return refuse(transfer.route, "chunk " + std::to_string(chunk) + " out of order");
  if (message.frame.size != transfer.offer->object.sealed_bytes(chunk))
    return refuse(transfer.route, "chunk " + std::to_string(chunk) + " of the wrong size");
  Status written;
  {
    const std::lock_guard lock(transfer.offer->busy);
    if (transfer.offer->withdrawn) return;  // the next message or sweep tells the client
    written = transfer.offer->sink->write(chunk, message.body.bytes());
  }
  if (!written.ok()) return fail(transfer.route, written.error());
  transfer.progress = clock_.now();
  budget_.advance(transfer, chunk + 1);
  proceed(transfer);
}

void TransferTable::take_done(Transfer& transfer, const BulkFrame& frame) {
  if (transfer.upload() || frame.index != transfer.chunks) return refuse(transfer.route, "a done before the end");
  end(transfer.route);
}

// One step on, as far as the budget allows; the transfer may be over afterwards.
void TransferTable::proceed(Transfer& transfer) {
  if (transfer.upload() && transfer.next == transfer.chunks) return complete(transfer);
  if (waiting_.empty()) budget_.top_up(transfer);  // else those in line come first
  step(transfer);
}

// Uses what was granted.
void TransferTable::step(Transfer& transfer) {
  if (transfer.granted == transfer.next && transfer.next < transfer.chunks) wait_for_room(transfer);
  transfer.upload() ? acknowledge(transfer) : pump(transfer);
}

void TransferTable::acknowledge(Transfer& transfer) {
  const std::uint32_t left = transfer.told - std::min(transfer.told, transfer.next);
  const Time now = clock_.now();
  if (left > (transfer.granted - transfer.next) / 2 && now - transfer.told_at < kTellAgain) return;
  transfer.told = transfer.granted;
  transfer.told_at = now;
  const BulkFrame ack{BulkKind::kAck, transfer.next, transfer.granted - transfer.next, 0};
  switch (link_.send(transfer.route, ack, Message(), transfer.offer->account)) {
    case SendResult::kSent: return;
    case SendResult::kGone: transfer.gone = true; return;  // what had arrived before is still to be written
    case SendResult::kFull: return end(transfer.route);    // it does not read
  }
}

// Sends a download's chunks as far as client and budget allow.
void TransferTable::pump(Transfer& transfer) {
  while (transfer.sent < std::min(transfer.granted, transfer.wanted)) {
    std::vector<std::byte> chunk = buffers_->take();
    Status read;
    {
      const std::lock_guard lock(transfer.offer->busy);
      if (transfer.offer->withdrawn) return;
      read = transfer.offer->source->read(transfer.sent, chunk);
    }
    if (read.ok() && chunk.size() != transfer.offer->object.sealed_bytes(transfer.sent))
      read = Error(ErrorCode::kFailed, "a source gave a chunk of the wrong size");
    if (!read.ok()) return fail(transfer.route, read.error());
    const BulkFrame frame{BulkKind::kChunk, transfer.sent, 0, static_cast<std::uint32_t>(chunk.size())};
    if (link_.send(transfer.route, frame, buffers_->lend(std::move(chunk)), transfer.offer->account) !=
        SendResult::kSent)
      return end(transfer.route);
    ++transfer.sent;
  }
}

void TransferTable::complete(Transfer& transfer) {
  {
    const std::lock_guard lock(transfer.offer->busy);
    if (transfer.offer->withdrawn) return;
    transfer.offer->sink->complete();
  }
  link_.send(transfer.route, {BulkKind::kDone, transfer.chunks, 0, 0}, Message(), transfer.offer->account);
  end(transfer.route);
}

void TransferTable::wait_for_room(Transfer& transfer) {
  if (transfer.waiting) return;
  transfer.waiting = true;
  waiting_.push_back(transfer.route);
}

void TransferTable::serve_waiting() {
  while (budget_.free() > 0 && !waiting_.empty()) {
    const auto found = transfers_.find(waiting_.front());
    waiting_.pop_front();
    if (found == transfers_.end()) continue;
    found->second.waiting = false;
    found->second.progress = clock_.now();  // it was not the client that stalled
    budget_.top_up(found->second);
    step(found->second);
  }
}

void TransferTable::sweep(Duration stall) {
  std::vector<std::string> withdrawn, stalled;
  for (const auto& [route, transfer] : transfers_) {
    if (transfer.offer->withdrawn)
      withdrawn.push_back(route);
    else if (!transfer.waiting &&
             clock_.now() - transfer.progress >= (transfer.gone ? std::min(kLastWords, stall) : stall))
      stalled.push_back(route);
  }
  for (const std::string& route : withdrawn) fail(route, BulkFailure::kWithdrawn, "the ticket was withdrawn");
  for (const std::string& route : stalled) fail(route, BulkFailure::kStalled, "no chunk was finished for too long");
}

void TransferTable::refuse(std::string route, std::string_view what) {
  fail(std::move(route), BulkFailure::kGrammar, what);
}

void TransferTable::fail(std::string route, BulkFailure failure, std::string_view text) {
  link_.send_failed(route, failure, text, transfers_.at(route).offer->account);
  end(std::move(route));
}

void TransferTable::fail(std::string route, const Error& error) {
  const auto [failure, text] = told(error);
  fail(std::move(route), failure, text);
}

void TransferTable::end(std::string route) {
  const auto node = transfers_.extract(route);
  if (node.empty()) return;
  if (node.mapped().waiting) std::erase(waiting_, route);  // the next transfer of the connection has its own turn
  budget_.leave(node.mapped());
  tickets_.remove(node.mapped().offer->user);
}

}  // namespace shoal::protocol::zmq
