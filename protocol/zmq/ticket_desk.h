// The tickets of a bulk server: issued by the service, shown at a handshake or later, taken up by one transfer.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "protocol/transport.h"

namespace shoal::protocol::zmq {

// One object offered to one device: a source for a download or a sink for an upload.
struct Offer {
  std::string user;   // the ticket's id
  Account account;    // whose bytes its transfer moves
  ObjectInfo object;  // without its key, which a transport does not need
  std::uint32_t first_chunk = 0;
  std::shared_ptr<ChunkSource> source;
  std::shared_ptr<ChunkSink> sink;

  std::atomic<bool> withdrawn{false};
  // Held while the bulk thread calls source or sink, so that withdrawing can wait for the call to end.
  std::mutex busy;
};

// Thread-safe. A ticket goes from offered to admitted (a handshake showed it) to running (its first message came), each
// once, or from offered to running (the first message brought it).
class TicketDesk {
 public:
  // `validity` from `now` until it is shown. The endpoint of the ticket is left empty.
  Result<Ticket> issue(std::shared_ptr<Offer> offer, Time now, Duration validity);

  // Handshake: the offer's account, once for a valid user and secret.
  std::optional<Account> admit(std::string_view user, std::string_view secret, Time now);
  // First message of the admitted connection: its offer, null when there is none (any more).
  std::shared_ptr<Offer> start(const std::string& user);
  // First message of a later transfer of a connection that `device` was admitted to: the ticket's offer, once for a
  // valid user and secret that were issued to the same device.
  std::shared_ptr<Offer> start(std::string_view user, std::string_view secret, DeviceId device, Time now);
  // The offer is gone from the desk: its transfer ended, or nobody shall use it.
  std::shared_ptr<Offer> remove(const std::string& user);
  // Removes what expired: offered tickets by their validity, admitted ones without a first message after `grace`.
  void sweep(Time now, Duration grace);

  bool empty() const;

 private:
  enum class Stage { kOffered, kAdmitted, kRunning };
  struct Entry {
    std::string secret;
    std::shared_ptr<Offer> offer;
    Stage stage = Stage::kOffered;
    Time since;    // when the stage began
    Time expires;  // of kOffered
  };

  // Under mutex_: the offered ticket, null when user and secret are not those of one.
  Entry* find_offered(std::string_view user, std::string_view secret, Time now);

  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace shoal::protocol::zmq
