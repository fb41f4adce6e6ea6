// The small pure parts of the command: URLs, event streams, answers, progress, restarts, ports, the runtime
// directory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "deploy/cli/api_client.h"
#include "deploy/cli/child_process.h"
#include "deploy/cli/core_shares.h"
#include "deploy/cli/load_progress.h"
#include "deploy/cli/port_picker.h"
#include "deploy/cli/restart_policy.h"
#include "deploy/cli/runtime_directory.h"
#include "deploy/cli/sse_reader.h"
#include "deploy/cli/url.h"

namespace leadline::deploy {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Url, TakesTheFormsThatPeopleType) {
  struct Case {
    std::string text, host, port, prefix;
    bool tls;
  };
  for (const Case& c :
       {Case{"http://a:1/v1/", "a", "1", "", false}, Case{"https://a", "a", "443", "", true},
        Case{"a:8000", "a", "8000", "", false}, Case{"http://[::1]:80/x/v1", "::1", "80", "/x", false}}) {
    const auto url = parse_url(c.text);
    ASSERT_TRUE(url) << c.text;
    EXPECT_EQ(url->host, c.host) << c.text;
    EXPECT_EQ(url->port, c.port) << c.text;
    EXPECT_EQ(url->prefix, c.prefix) << c.text;
    EXPECT_EQ(url->tls, c.tls) << c.text;
  }
  EXPECT_EQ(parse_url("http://[::1]:81")->authority(), "[::1]:81");
  EXPECT_EQ(parse_url("https://a:443")->authority(), "a");
}

TEST(Url, RefusesTheRest) {
  for (const char* text : {"", "http://", "ftp://a", "http://a:0", "http://a:x", "http://a:70000",
                           "http://u@a", "http://a/?q=1", "http://[::1", "http://[::1]x"}) {
    EXPECT_FALSE(parse_url(text)) << text;
  }
}

TEST(SseReader, EventsComeWholeHoweverTheBytesAreCut) {
  const std::string bytes =
      "data: one\n\n: comment\r\n\r\nevent: x\ndata:two\r\ndata: lines\r\n\r\ndata: [DONE]\n\ndata: open";
  for (std::size_t step = 1; step < bytes.size(); ++step) {
    SseReader reader;
    std::vector<std::string> events;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      for (std::string& event : reader.feed(std::string_view(bytes).substr(at, step)))
        events.push_back(event);
    }
    EXPECT_THAT(events, ElementsAre("one", "two\nlines", "[DONE]"));
  }
}

TEST(SseReader, AnEndlessLineFails) {
  SseReader reader;
  const std::string piece(1 << 20, 'a');
  for (int i = 0; i < 6; ++i) EXPECT_THAT(reader.feed(piece), IsEmpty());
  EXPECT_TRUE(reader.failed());
}

TEST(ReadAnswer, TakesChunksWholeAnswersAndUsage) {
  StreamedAnswer answer;
  EXPECT_EQ(*read_answer(R"({"choices":[{"delta":{"role":"assistant"}}]})", answer), "");
  EXPECT_EQ(*read_answer(R"({"choices":[{"delta":{"content":"Hel"}}]})", answer), "Hel");
  EXPECT_EQ(*read_answer(R"({"choices":[{"text":"lo","finish_reason":"stop"}]})", answer), "lo");
  EXPECT_EQ(*read_answer(R"({"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,
      "prompt_tokens_details":{"cached_tokens":4}}})",
                         answer),
            "");
  EXPECT_EQ(answer.text, "Hello");
  EXPECT_EQ(answer.finish_reason, "stop");
  EXPECT_EQ(answer.prompt_tokens, 5);
  EXPECT_EQ(answer.completion_tokens, 2);
  EXPECT_EQ(answer.cached_tokens, 4);
  EXPECT_EQ(*read_answer(R"({"choices":[{"message":{"content":"!"}}]})", answer), "!");
}

TEST(ReadAnswer, ErrorsAndNonsenseAreErrors) {
  StreamedAnswer answer;
  const auto error = read_answer(R"({"error":{"message":"worker lost"}})", answer);
  ASSERT_FALSE(error);
  EXPECT_THAT(error.error().message, HasSubstr("worker lost"));
  for (const char* text : {"", "[]", "3", "{\"choices\""}) EXPECT_FALSE(read_answer(text, answer)) << text;
  for (const char* text :
       {R"({"choices":3})", R"({"choices":[3]})", R"({"choices":[{"delta":[]}]})", R"({"usage":[1]})"}) {
    EXPECT_EQ(*read_answer(text, answer), "") << text;
  }
}

TEST(LoadProgress, SumsTheWorkersAndStandsOddAnswers) {
  const WorkerProgress half =
      read_startup(R"({"phase":"loading","loaded_bytes":5000000,"total_bytes":10000000})");
  int percent = 0;
  EXPECT_EQ(describe_progress({half, half}, percent), "loading weights: 10.0 MB of 20.0 MB (50%)");
  EXPECT_EQ(percent, 50);
  EXPECT_EQ(describe_progress({WorkerProgress{}}, percent), "workers: starting");
  EXPECT_EQ(percent, 0);
  for (const char* text : {"", "[]", R"({"phase":7,"loaded_bytes":-1,"total_bytes":"x"})"}) {
    EXPECT_EQ(read_startup(text).phase, "") << text;
    EXPECT_EQ(read_startup(text).total_bytes, 0U) << text;
  }
}

TEST(RestartPolicy, DelaysDoubleAndBeginAnewAfterAHealthyRun) {
  RestartPolicy policy;
  EXPECT_FALSE(policy.on_exit(milliseconds(100), false).restart);
  EXPECT_EQ(policy.on_exit(milliseconds(100), true).delay, milliseconds(500));
  EXPECT_EQ(policy.on_exit(milliseconds(100), true).delay, milliseconds(1000));
  for (int i = 0; i < 10; ++i) (void)policy.on_exit(milliseconds(100), true);
  EXPECT_EQ(policy.on_exit(milliseconds(100), true).delay, RestartPolicy::kLongestDelay);
  EXPECT_EQ(policy.on_exit(RestartPolicy::kHealthyAfter, true).delay, milliseconds(500));
  EXPECT_EQ(policy.restarts(), 14);
}

TEST(PortPicker, PortsAreDifferentAndABlockAvoidsWhatIsTaken) {
  const std::vector<int> ports = pick_free_ports("127.0.0.1", 8);
  EXPECT_EQ(std::set<int>(ports.begin(), ports.end()).size(), 8U);
  EXPECT_FALSE(ports_are_free("203.0.113.1", 0, 1));
  const auto block = find_free_block("127.0.0.1", ports[0], 3);
  ASSERT_TRUE(block);
  EXPECT_GE(*block, ports[0]);
}

TEST(RuntimeDirectory, IsPrivateAndGoesWithTheObject) {
  std::string path, secret;
  {
    const auto directory = RuntimeDirectory::create();
    ASSERT_TRUE(directory);
    path = directory->path();
    secret = *directory->write_secret();
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700);
    ASSERT_EQ(stat(secret.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600);
    EXPECT_EQ(info.st_size, 65);
    EXPECT_FALSE(directory->write_secret());  // never over an existing one
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(CoreShares, WorkersShareNoCoreWhileThereAreEnough) {
  const std::vector<int> cores = {0, 1, 2, 3, 8, 9, 10, 11, 12};
  EXPECT_EQ(cores_of_worker(cores, {2, 1, 4}, 0), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(cores_of_worker(cores, {2, 1, 4}, 1), (std::vector<int>{8, 9, 10, 11, 12}));
  EXPECT_EQ(cores_of_worker(cores, {3, 3, 1}, 2), (std::vector<int>{10, 11, 12}));
  EXPECT_TRUE(cores_of_worker(cores, {2, 1, 5}, 0).empty()) << "threads outnumber cores";
  EXPECT_TRUE(cores_of_worker(cores, {2, 1, 0}, 0).empty()) << "nobody counted threads";
  EXPECT_TRUE(cores_of_worker(cores, {1, 1, 4}, 0).empty()) << "one worker has the machine";
  EXPECT_TRUE(cores_of_worker({}, {2, 1, 1}, 0).empty());
}

TEST(CoreShares, AChildStaysOnItsCores) {
  const std::vector<int> cores = own_cores();
  ASSERT_FALSE(cores.empty());
  auto child = ChildProcess::spawn({{"sh", "-c", "taskset -cp $$"}, {}, {cores.back()}});
  ASSERT_TRUE(child) << child.error().message;
  std::string text;
  while (child->output_fd() >= 0) {
    pollfd output{child->output_fd(), POLLIN, 0};
    (void)poll(&output, 1, 1000);
    for (const std::string& line : child->read_lines()) text += line;
  }
  EXPECT_TRUE(text.ends_with(": " + std::to_string(cores.back()))) << text;
}

}  // namespace
}  // namespace leadline::deploy
