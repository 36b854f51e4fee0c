#include "coordinator/admin_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "tests/support/temporary_folder.h"

namespace shoal::coordinator {
namespace {

// A person at the other end of the socket.
class Caller {
 public:
  explicit Caller(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    connected = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Caller() { ::close(socket_); }
  void say(const std::string& text) {
    EXPECT_EQ(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Up to `lines` lines, fewer when the connection ends.
  std::string hear(int lines) {
    std::string heard;
    char c;
    while (lines > 0 && ::recv(socket_, &c, 1, 0) == 1) {
      heard.push_back(c);
      if (c == '\n') --lines;
    }
    return heard;
  }
  bool connected = false;

 private:
  int socket_;
};

class AdminSocketTest : public ::testing::Test {
 protected:
  ::shoal::testing::TemporaryFolder folder;
  NoLog log;
  std::string path = folder.path().string() + "/admin/socket";
  std::unique_ptr<AdminSocket> socket = AdminSocket::listen(
                                            path, [](const std::string& request) { return "<" + request + ">"; }, log)
                                            .value();
};

TEST_F(AdminSocketTest, AnswersLineByLineHoweverTheyArrive) {
  Caller caller(path);
  ASSERT_TRUE(caller.connected);
  caller.say("one\ntw");
  EXPECT_EQ(caller.hear(1), "<one>\n");
  caller.say("o\nthree\n");
  EXPECT_EQ(caller.hear(2), "<two>\n<three>\n");
}

TEST_F(AdminSocketTest, LiesInAFolderForItsOwnerAlone) {
  struct stat status {};
  ASSERT_EQ(::stat((folder.path().string() + "/admin").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(AdminSocketTest, EndsAConnectionWhoseLineNeverEnds) {
  Caller caller(path);
  const std::string piece(1 << 16, 'x');
  for (int i = 0; i < 17; ++i) caller.say(piece);
  EXPECT_EQ(caller.hear(1), "") << "closed without an answer";
  Caller other(path);
  other.say("still there?\n");
  EXPECT_EQ(other.hear(1), "<still there?>\n");
}

TEST_F(AdminSocketTest, ClosesOpenConnectionsWhenItEndsAndLeavesNoSocketBehind) {
  Caller caller(path);
  caller.say("hello\n");
  ASSERT_EQ(caller.hear(1), "<hello>\n");
  socket.reset();
  EXPECT_EQ(caller.hear(1), "");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(AdminSocketTest, RefusesAPathThatIsTooLong) {
  const auto refused = AdminSocket::listen(
      folder.path().string() + "/" + std::string(120, 'x') + "/socket", [](const std::string& s) { return s; }, log);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::coordinator
