#include "protocol/zmq/router.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "protocol/zmq/zap.h"

namespace shoal::protocol::zmq {
namespace {

constexpr int kBacklog = 1024;  // connections that wait to be accepted

}  // namespace

Socket make_router(Context& context, Duration handshake_limit) {
  unsigned seed = 0;
  SHOAL_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed, std::strerror(errno));
  std::srand(seed);

  Socket router(context, ZMQ_ROUTER);
  router.set(ZMQ_ZAP_DOMAIN, kZapDomain);
  router.set(ZMQ_ROUTER_MANDATORY, 1);
  router.set(ZMQ_HANDSHAKE_IVL,
             static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(handshake_limit).count()));
  router.set(ZMQ_BACKLOG, kBacklog);
  router.set(ZMQ_IPV6, 1);
  router.set(ZMQ_TCP_KEEPALIVE, 1);
  router.set(ZMQ_TCP_KEEPALIVE_IDLE, 60);
  return router;
}

}  // namespace shoal::protocol::zmq
