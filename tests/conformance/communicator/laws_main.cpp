// communicator_laws LAW...: one rank of a group under test. Prints "ok LAW rank R" or "broken LAW rank R:
// why" for each. LAW "all" runs every law that leaves the group alive.

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/conformance/communicator/communicator_laws.h"
#include "transport/collective/bootstrap.h"

int main(int argc, char** argv) {
  using namespace leadline;
  // A launcher that sees one rank die ends the others; here they must live to tell.
  ::signal(SIGTERM, SIG_IGN);
  transport::BootstrapOptions options;
  options.stall_limit = std::chrono::milliseconds(tests::kStallLimitMs);
  options.connect_limit = std::chrono::milliseconds(20'000);
  auto group = transport::bootstrap(options);
  if (!group) {
    std::printf("broken bootstrap: %s\n", group.error().message.c_str());
    return 2;
  }
  bool all_held = true, ended = false;
  for (const tests::Law& law : tests::communicator_laws()) {
    bool asked = false;
    for (int i = 1; i < argc; ++i) {
      asked = asked || std::string_view(argv[i]) == law.name ||
              (std::string_view(argv[i]) == "all" && !law.ends_group);
    }
    if (!asked) continue;
    ended = ended || law.ends_group;
    const std::string why = law.run(**group);
    const int rank = (*group)->rank();
    if (why.empty()) {
      std::printf("ok %s rank %d on %s\n", law.name, rank, (*group)->name());
    } else {
      std::printf("broken %s rank %d: %s\n", law.name, rank, why.c_str());
      all_held = false;
    }
    std::fflush(stdout);
  }
  group->reset();  // must not hang, dead or alive
  std::printf("left\n");
  std::fflush(stdout);
  const int status = all_held ? 0 : 1;
  // Open MPI that lost a rank is not finalised. At exit it unloads its plug-ins, and what they still hold
  // then has no name that LeakSanitizer could be told to leave out (.ci/sanitizer/leaks.supp).
  if (ended && std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) std::_Exit(status);
  return status;
}
