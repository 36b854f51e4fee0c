// The client as a program: the session on its control thread, the worker beside it, and real sockets, disk and time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/enrolment.h"
#include "client/local_data.h"
#include "client/options.h"
#include "client/session.h"
#include "client/worker.h"
#include "protocol/transport.h"

namespace shoal::client {

// Starts one connection attempt (protocol/zmq/control.h makes these).
using Dial = std::function<Result<std::unique_ptr<protocol::ControlChannel>>(
    const std::string& endpoint, const protocol::PublicKey& server_key, const protocol::KeyPair& keys)>;

struct DaemonParts {
  ClientOptions options;
  Enrolment enrolment;
  LocalData data;
  Dial dial;
  std::unique_ptr<protocol::BulkClient> bulk;
  const Clock* clock = nullptr;  // monotonic; outlives the daemon
  Log* log = nullptr;            // outlives the daemon
  std::string build;             // said to the coordinator
  std::uint64_t process = 0;     // a random number of this process, said to the coordinator
};

class Daemon {
 public:
  // Opens the state folder's models and unsent update.
  static Result<std::unique_ptr<Daemon>> make(DaemonParts parts);

  // Until stop() or a final refusal. kNone: as asked. Call once; the calling thread owns the session.
  protocol::Refusal run();
  // From any thread, also before run(). Says goodbye, keeps a sealed update, gives up unfinished work.
  void stop();

 private:
  // What other threads tell the owner.
  class Mailbox {
   public:
    void post(SessionEvent event);
    std::vector<SessionEvent> take();
    // Waits for a post, at most so long.
    void wait(Duration timeout);
    // post() also wakes this channel; null for none. Not before the previous one is destroyed.
    void wake_also(protocol::ControlChannel* channel);

   private:
    std::mutex mutex_;
    std::condition_variable posted_;
    std::vector<SessionEvent> events_;
    protocol::ControlChannel* channel_ = nullptr;
  };

  Daemon(DaemonParts parts, UpdateBox box, ModelCache cache);
  static SessionOptions session_options(const DaemonParts& parts, const UpdateBox& box);

  void step(const SessionEvent& event);
  void listen(Duration timeout);
  void close_channel();

  // One for each kind of action.
  void carry_out(const action::Connect&);
  void carry_out(const action::Disconnect&);
  void carry_out(const action::Send&);
  void carry_out(const action::Enrolled&);
  void carry_out(const action::CancelWork&);
  void carry_out(const action::Exit&);
  void carry_out(const action::Log&);
  template <class Long>
  void carry_out(Long work) {
    worker_->submit(Work(std::move(work)));
  }

  DaemonParts parts_;
  Mailbox mailbox_;
  Session session_;
  std::unique_ptr<protocol::ControlChannel> channel_;
  std::optional<protocol::Refusal> exit_;
  std::unique_ptr<Worker> worker_;  // last: its thread uses what is above
};

}  // namespace shoal::client
