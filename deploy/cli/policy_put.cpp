#include "deploy/cli/policy_put.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "deploy/cli/addresses.h"
#include "deploy/cli/http_client.h"

namespace leadline::deploy {
namespace {

constexpr std::size_t kShown = 400;          // bytes of a worker's answer
constexpr int kLoading = 503, kTaken = 200;  // statuses of HTTP
constexpr int kNobody = 3;                   // exit status

struct Told {
  int taken = 0, loading = 0, refused = 0, silent = 0;
};

void tell(Url url, const std::string& path, const PutOptions& options, Told& told) {
  HttpRequest request;
  request.method = "POST";
  request.path = path;
  request.body = options.text;
  request.timeout = std::chrono::seconds(options.timeout_s);
  const std::string where = url.authority();
  HttpClient http(std::move(url), {});
  const auto answer = http.send(request);
  if (!answer) {
    ++told.silent;
    std::fprintf(stderr, "leadline: %s: no answer: %s\n", where.c_str(), answer.error().message.c_str());
    return;
  }
  ++(answer->status == kTaken ? told.taken : answer->status == kLoading ? told.loading : told.refused);
  std::printf("%s: %d %s", where.c_str(), answer->status, answer->body.substr(0, kShown).c_str());
}

int tell_all(const PutOptions& options, const std::string& path) {
  Told told;
  for (const std::string& worker : options.workers) {
    const auto url = parse_url(worker);
    if (!url) {
      std::fprintf(stderr, "leadline: --worker %s: %s\n", worker.c_str(), url.error().message.c_str());
      return 2;
    }
    const auto found = addresses_of(*url);
    if (!found) {
      ++told.silent;
      std::fprintf(stderr, "leadline: --worker %s\n", found.error().message.c_str());
      continue;
    }
    for (const std::string& address : *found) {
      Url one = *url;
      one.host = address;
      tell(std::move(one), path, options, told);
    }
  }
  std::printf("%d took it, %d load, %d refused, %d did not answer\n", told.taken, told.loading, told.refused,
              told.silent);
  if (told.refused > 0) return 1;
  return told.taken + told.loading > 0 ? 0 : kNobody;
}

void add_worker_flags(CLI::App& command, PutOptions& o) {
  command.add_option("--worker", o.workers, "HOST:PORT of a worker's admin port; all addresses of a name")
      ->required();
  command.add_option("--timeout", o.timeout_s, "Seconds for each address")->check(CLI::Range(1, 600));
}

}  // namespace

void add_put_flags(CLI::App& command, PutOptions& o) {
  add_worker_flags(command, o);
  command.add_option("policy", o.text, "As --speculation takes it; file:PATH is read by the worker")
      ->required();
}

void add_report_flags(CLI::App& command, PutOptions& o) {
  add_worker_flags(command, o);
  command.add_option("outcome", o.text, "How the training ended")
      ->required()
      ->check(CLI::IsMember({"exported", "refused", "too_little", "failed"}));
}

int run_put(const PutOptions& options) {
  return tell_all(options, "/policy");
}
int run_report(const PutOptions& options) {
  return tell_all(options, "/policy/training");
}

}  // namespace leadline::deploy
