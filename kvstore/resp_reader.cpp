#include "kvstore/resp_reader.h"

#include <hiredis/read.h>

namespace leadline::kvstore {
namespace {

// From hiredis.h, which declares half of POSIX along with them.
constexpr int kStatus = 5, kError = 6;

RespReply* place(const redisReadTask* task, std::unique_ptr<RespReply> made) {
  RespReply* raw = made.get();
  if (task->parent == nullptr) return made.release();
  auto* parent = static_cast<RespReply*>(task->parent->obj);
  parent->elements[static_cast<std::size_t>(task->idx)] = std::move(*raw);
  return &parent->elements[static_cast<std::size_t>(task->idx)];
}

void* make_string(const redisReadTask* task, char* bytes, std::size_t n) {
  auto made = std::make_unique<RespReply>();
  made->kind = task->type == kStatus  ? RespReply::Kind::status
               : task->type == kError ? RespReply::Kind::error
                                      : RespReply::Kind::text;
  made->text.assign(bytes, n);
  return place(task, std::move(made));
}
void* make_array(const redisReadTask* task, int elements) {
  if (elements > RespReader::kMaxElements) return nullptr;  // hiredis calls it out of memory and fails
  auto made = std::make_unique<RespReply>();
  made->kind = RespReply::Kind::array;
  made->elements.resize(elements > 0 ? static_cast<std::size_t>(elements) : 0);
  return place(task, std::move(made));
}
void* make_integer(const redisReadTask* task, long long value) {
  auto made = std::make_unique<RespReply>();
  made->kind = RespReply::Kind::integer;
  made->integer = value;
  return place(task, std::move(made));
}
void* make_nil(const redisReadTask* task) {
  return place(task, std::make_unique<RespReply>());
}
void free_reply(void* reply) {
  delete static_cast<RespReply*>(reply);
}

redisReplyObjectFunctions functions() {
  redisReplyObjectFunctions f{};
  f.createString = make_string;
  f.createArray = make_array;
  f.createInteger = make_integer;
  f.createNil = make_nil;
  f.freeObject = free_reply;
  return f;
}

}  // namespace

void RespReader::Free::operator()(void* reader) const {
  redisReaderFree(static_cast<redisReader*>(reader));
}

RespReader::RespReader() {
  static redisReplyObjectFunctions kFunctions = functions();
  reader_.reset(redisReaderCreateWithFunctions(&kFunctions));
}
RespReader::~RespReader() = default;
RespReader::RespReader(RespReader&&) noexcept = default;
RespReader& RespReader::operator=(RespReader&&) noexcept = default;

void RespReader::feed(std::span<const std::byte> bytes) {
  if (failed_ || bytes.empty()) return;
  pending_ += bytes.size();
  failed_ = redisReaderFeed(static_cast<redisReader*>(reader_.get()),
                            reinterpret_cast<const char*>(bytes.data()), bytes.size()) != 0;
}

std::optional<RespReply> RespReader::take() {
  if (failed_) return std::nullopt;
  void* reply = nullptr;
  if (redisReaderGetReply(static_cast<redisReader*>(reader_.get()), &reply) != 0) {
    failed_ = true;
    return std::nullopt;
  }
  if (reply == nullptr) {
    failed_ = pending_ > kMaxReplyBytes;  // whatever it is, it is not for us
    return std::nullopt;
  }
  pending_ = 0;
  const std::unique_ptr<RespReply> owned(static_cast<RespReply*>(reply));
  return std::move(*owned);
}

}  // namespace leadline::kvstore
