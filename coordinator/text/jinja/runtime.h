#pragma once
// Runtime: what one rendering owns and may spend: its objects, its steps, its memory, its depth. Not the
// interpreter (that walks the tree) and not shared. Thread: one rendering. Invariant: objects live until the
// Runtime ends, so values may point at them freely.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/text/jinja/limits.h"
#include "coordinator/text/jinja/template_error.h"
#include "coordinator/text/jinja/value.h"

namespace leadline::coordinator::jinja {

class Runtime {
 public:
  explicit Runtime(std::int64_t now_unix_s) : now_unix_s_(now_unix_s) {}

  // Spends steps; throws (limit) when they are gone.
  void charge(std::size_t steps) {
    steps_ += steps;
    if (steps_ > kMaxSteps) throw_error(ErrorKind::limit, "the chat template takes too many steps");
  }
  void charge_bytes(std::size_t bytes) { charge(bytes / 64); }
  void charge_items(std::size_t items) { charge(items / 8); }
  // Reserves memory before it is taken.
  void charge_memory(std::size_t bytes) {
    bytes_ += bytes;
    if (bytes_ > kMaxArenaBytes) throw_error(ErrorKind::limit, "the chat template takes too much memory");
    charge_bytes(bytes);
  }

  template <typename T, typename... Args>
  T* make(Args&&... args) {
    charge_memory(sizeof(T) + 16);
    auto object = std::make_unique<T>(std::forward<Args>(args)...);
    T* raw = object.get();
    objects_.push_back(std::move(object));
    return raw;
  }
  Value own(std::string text) {
    charge_memory(text.size() + 48);
    texts_.push_back(std::make_unique<std::string>(std::move(text)));
    return Value::text(*texts_.back());
  }
  Value undefined(std::string why) { return Value::undefined(own(std::move(why)).as_text()); }
  Value sequence(SequenceKind kind, std::vector<Value> items) {
    charge_memory(items.size() * sizeof(Value));
    auto* made = make<Sequence>();
    made->kind = kind;
    made->items = std::move(items);
    return Value::of(made);
  }
  Value list(std::vector<Value> items) { return sequence(SequenceKind::list, std::move(items)); }

  std::int64_t now_unix_s() const { return now_unix_s_; }

  // Counts nested evaluations while it lives.
  class Depth {
   public:
    explicit Depth(Runtime& runtime) : runtime_(runtime) {
      if (++runtime_.depth_ > kMaxCallDepth) {
        --runtime_.depth_;
        throw_error(ErrorKind::limit, "the chat template nests its calls too deeply");
      }
    }
    ~Depth() { --runtime_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    Runtime& runtime_;
  };

 private:
  std::int64_t now_unix_s_;
  std::size_t steps_ = 0, bytes_ = 0;
  int depth_ = 0;
  std::vector<std::unique_ptr<Object>> objects_;
  std::vector<std::unique_ptr<std::string>> texts_;
};

}  // namespace leadline::coordinator::jinja
