// The administration client against a server that answers well, badly, late or not at all.
#include "cli/admin_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>

namespace shoal::cli {
namespace {

using testing::HasSubstr;

// Accepts one connection and answers every line with `answer(line)`, as raw bytes; an empty answer closes it.
class Server {
 public:
  explicit Server(std::function<std::string(const std::string&)> answer) {
    char folder[] = "/tmp/shoal-admin-XXXXXX";
    folder_ = ::mkdtemp(folder);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    thread_ = std::thread([this, answer = std::move(answer)] { serve(answer); });
  }
  ~Server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    ::unlink(path().c_str());
    ::rmdir(folder_.c_str());
  }
  std::string path() const { return folder_ + "/socket"; }

 private:
  void serve(const std::function<std::string(const std::string&)>& answer) {
    const int peer = ::accept(listener_, nullptr, nullptr);
    std::string line;
    for (char c = 0; peer >= 0 && ::read(peer, &c, 1) == 1;) {
      if (c != '\n') {
        line += c;
        continue;
      }
      const std::string reply = answer(line);
      line.clear();
      if (reply.empty()) break;
      if (::send(peer, reply.data(), reply.size(), MSG_NOSIGNAL) < 0) break;
    }
    if (peer >= 0) ::close(peer);
  }
  std::string folder_;
  int listener_ = -1;
  std::thread thread_;
};

TEST(AdminClient, SendsOneLineAndReturnsTheData) {
  std::string request;
  Server server([&](const std::string& line) {
    request = line;
    return "{\"ok\": true, \"data\": {\"n\": 5}}\n";
  });
  AdminClient client = AdminClient::connect(server.path()).value();
  EXPECT_EQ(client.call("device.show", {{"id", 7}}).value()["n"], 5);
  EXPECT_EQ(nlohmann::json::parse(request), (nlohmann::json{{"op", "device.show"}, {"args", {{"id", 7}}}}));
  EXPECT_TRUE(client.call("again").ok()) << "a connection carries any number of requests";
}

TEST(AdminClient, RefusalsKeepTheirCode) {
  Server server([](const std::string&) {
    return "{\"ok\": false, \"code\": \"not-found\", \"error\": \"there is no device 9\"}\n";
  });
  AdminClient client = AdminClient::connect(server.path()).value();
  const auto answer = client.call("device.show", {{"id", 9}});
  EXPECT_EQ(answer.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(answer.error().to_string(), "there is no device 9");
}

TEST(AdminClient, NonsenseIsCorrupt) {
  for (const char* reply : {"hello\n", "[]\n", "{\"ok\": true}\n", "{\"ok\": 1, \"data\": 2}\n", "{\"ok\": false}\n"}) {
    Server server([&](const std::string&) { return reply; });
    AdminClient client = AdminClient::connect(server.path()).value();
    EXPECT_EQ(client.call("status").error().code(), ErrorCode::kCorrupt) << reply;
  }
}

TEST(AdminClient, ACoordinatorThatGoesAwayIsUnavailable) {
  Server server([](const std::string&) { return ""; });
  AdminClient client = AdminClient::connect(server.path()).value();
  EXPECT_EQ(client.call("status").error().code(), ErrorCode::kUnavailable);
}

TEST(AdminClient, SilenceTimesOut) {
  Server server([](const std::string&) { return " "; });  // bytes, but never a line
  AdminClient client = AdminClient::connect(server.path()).value();
  EXPECT_EQ(client.call("status", nlohmann::json::object(), std::chrono::milliseconds(20)).error().code(),
            ErrorCode::kTimeout);
}

TEST(AdminClient, NobodyListeningSaysWhatToDo) {
  const auto missing = AdminClient::connect("/nonexistent/socket");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(missing.error().to_string(), HasSubstr("start shoal-coordinator"));
  EXPECT_EQ(AdminClient::connect(std::string(200, 'x')).error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::cli
