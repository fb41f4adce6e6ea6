#include "worker/backend/cuda/emulator/fiber_block.h"

#include <ucontext.h>

#include <array>
#include <limits>
#include <memory>
#include <vector>

#include "monitoring/check.h"

namespace leadline::worker::cuda {

thread_local FiberPlace* fiber_place = nullptr;

namespace {

constexpr std::size_t kStackBytes = 128 << 10;
constexpr int kMaxThreads = 1024;

// A switch saves the callee-saved registers on the fiber's own stack; ucontext would ask the kernel each
// time.
#if defined(__x86_64__)
extern "C" void leadline_fiber_switch(void** save, void* load);
asm(R"(
.text
.type leadline_fiber_switch, @function
leadline_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size leadline_fiber_switch, .-leadline_fiber_switch
)");
#endif

enum class Wait { none, warp, block, gone };

struct Fiber {
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  FiberPlace place;
  Wait wait = Wait::none;
#if defined(__x86_64__)
  void* at = nullptr;
#else
  ucontext_t context;
#endif
};

struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  const std::function<void()>* body = nullptr;
  int running = 0;
  std::vector<float> exchange, shared;
  std::vector<std::array<std::uint32_t, 6>> tiles;  // what each thread gives to multiply_tile
#if defined(__x86_64__)
  void* scheduler = nullptr;
#else
  ucontext_t scheduler;
#endif
};
thread_local Block block;

void yield(Wait wait) {
  block.fibers[static_cast<std::size_t>(block.running)]->wait = wait;
#if defined(__x86_64__)
  leadline_fiber_switch(&block.fibers[static_cast<std::size_t>(block.running)]->at, block.scheduler);
#else
  swapcontext(&block.fibers[static_cast<std::size_t>(block.running)]->context, &block.scheduler);
#endif
}

void fiber_main() {
  (*block.body)();
  yield(Wait::gone);
}

void prepare(Fiber& fiber) {
  fiber.wait = Wait::none;
#if defined(__x86_64__)
  // Seven words as the switch pops them: six registers, then where to go; the stack is 16-aligned at the
  // entry.
  auto top = reinterpret_cast<std::uintptr_t>(fiber.stack.get() + kStackBytes) & ~std::uintptr_t{15};
  auto** words = reinterpret_cast<void**>(top - 64);
  for (int i = 0; i < 6; ++i) words[i] = nullptr;
  words[6] = reinterpret_cast<void*>(&fiber_main);
  fiber.at = words;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
#endif
}

void resume(int index) {
  Fiber& fiber = *block.fibers[static_cast<std::size_t>(index)];
  block.running = index;
  fiber_place = &fiber.place;
#if defined(__x86_64__)
  leadline_fiber_switch(&block.scheduler, fiber.at);
#else
  swapcontext(&block.scheduler, &fiber.context);
#endif
}

// Threads [begin, end) that are not gone all wait for `kind`: lets them go on.
bool release(int begin, int end, Wait kind) {
  int waiting = 0;
  for (int t = begin; t < end; ++t) {
    const Wait wait = block.fibers[static_cast<std::size_t>(t)]->wait;
    if (wait != kind && wait != Wait::gone) return false;
    waiting += wait == kind;
  }
  for (int t = begin; t < end; ++t) {
    Wait& wait = block.fibers[static_cast<std::size_t>(t)]->wait;
    if (wait == kind) wait = Wait::none;
  }
  return waiting > 0;
}

// Runs a warp until all of it waits for the block or is gone.
void run_warp(int begin, int end) {
  do {
    for (int t = begin; t < end; ++t)
      if (block.fibers[static_cast<std::size_t>(t)]->wait == Wait::none) resume(t);
  } while (release(begin, end, Wait::warp));
}

}  // namespace

void run_block(const FiberPlace& at, std::int64_t shared_bytes, const std::function<void()>& body) {
  LEADLINE_CHECK(at.threads > 0 && at.threads <= kMaxThreads && at.threads % 32 == 0, "threads of a block");
  while (static_cast<int>(block.fibers.size()) < at.threads)
    block.fibers.push_back(std::make_unique<Fiber>());
  block.body = &body;
  block.tiles.resize(static_cast<std::size_t>(at.threads));
  block.exchange.assign(static_cast<std::size_t>(at.threads), 0);
  block.shared.assign(static_cast<std::size_t>(shared_bytes / 4 + 1),
                      std::numeric_limits<float>::quiet_NaN());
  for (int t = 0; t < at.threads; ++t) {
    Fiber& fiber = *block.fibers[static_cast<std::size_t>(t)];
    fiber.place = at;
    fiber.place.thread = t;
    fiber.place.shared = block.shared.data();
    prepare(fiber);
  }
  do {
    for (int w = 0; w < at.threads; w += 32) run_warp(w, w + 32);
  } while (release(0, at.threads, Wait::block));
  for (int t = 0; t < at.threads; ++t)
    LEADLINE_CHECK(
        block.fibers[static_cast<std::size_t>(t)]->wait == Wait::gone,
        "a kernel's threads wait for each other for ever: a barrier or shuffle that not all reach");
}

void block_barrier() {
  yield(Wait::block);
}
void warp_barrier() {
  yield(Wait::warp);
}

float shuffle_xor(float x, int mask) {
  const int me = block.running;
  block.exchange[static_cast<std::size_t>(me)] = x;
  yield(Wait::warp);
  const float got = block.exchange[static_cast<std::size_t>(me ^ mask)];
  yield(Wait::warp);
  return got;
}

void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const int me = block.running, warp = me / 32 * 32, g = me % 32 / 4, t = me % 4;
  block.tiles[static_cast<std::size_t>(me)] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  yield(Wait::warp);
  const auto element = [&](int lane, int word, int k) {
    const std::uint32_t pair =
        block.tiles[static_cast<std::size_t>(warp + lane)][static_cast<std::size_t>(word)];
    return bits_to_float(k % 2 == 0 ? pair << 16 : pair & 0xffff0000U);
  };
  for (int i = 0; i < 4; ++i) {
    const int column = t * 2 + i % 2;  // of row g, or g + 8
    for (int k = 0; k < 16; ++k)
      c[i] = std::fma(element(g * 4 + k % 8 / 2, i / 2 + k / 8 * 2, k),
                      element(column * 4 + k % 8 / 2, 4 + k / 8, k), c[i]);
  }
  yield(Wait::warp);
}

}  // namespace leadline::worker::cuda
