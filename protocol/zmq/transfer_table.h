// The running transfers of a bulk server: answers each message by the grammar of bulk_frame.h, on the bulk thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"
#include "protocol/zmq/bulk_link.h"
#include "protocol/zmq/chunk_buffers.h"
#include "protocol/zmq/ticket_desk.h"
#include "protocol/zmq/transfer.h"

namespace shoal::protocol::zmq {

// A message that breaks the grammar ends its own transfer and no other.
class TransferTable {
 public:
  // All of them outlive the table.
  TransferTable(BulkLink& link, TicketDesk& tickets, const Clock& clock, ChunkBudget budget);

  void take(BulkMessage message);
  void take(const BulkLink::Malformed& message);
  // Gives room that came free to those who wait for it.
  void serve_waiting();
  // Ends transfers that were withdrawn or finished no chunk for `stall`.
  void sweep(Duration stall);
  bool empty() const { return transfers_.empty(); }

 private:
  using Transfers = std::unordered_map<std::string, Transfer>;

  // That of the ticket which the message opens a transfer with, null when it is not valid.
  std::shared_ptr<Offer> offer_of(const BulkMessage& opening);
  Transfer& begin(const std::string& route, std::shared_ptr<Offer> offer);
  void go_on(Transfer& transfer, const BulkMessage& message);
  void take_put(Transfer& transfer);
  void take_ack(Transfer& transfer, const BulkFrame& frame);
  void take_chunk(Transfer& transfer, const BulkMessage& message);
  void take_done(Transfer& transfer, const BulkFrame& frame);

  void proceed(Transfer& transfer);
  void step(Transfer& transfer);
  void acknowledge(Transfer& transfer);
  void pump(Transfer& transfer);
  void complete(Transfer& transfer);
  void wait_for_room(Transfer& transfer);

  // Each of these ends the transfer of `route`, by value, since the argument often lives in it.
  void refuse(std::string route, std::string_view what);
  void fail(std::string route, BulkFailure failure, std::string_view text);
  void fail(std::string route, const Error& of_source_or_sink);
  void end(std::string route);

  BulkLink& link_;
  TicketDesk& tickets_;
  const Clock& clock_;
  ChunkBudget budget_;
  Transfers transfers_;
  std::deque<std::string> waiting_;  // routes in line for room
  std::shared_ptr<ChunkBuffers> buffers_;
};

}  // namespace shoal::protocol::zmq
