#include <fmt/format.h>
#include <liburing.h>

#include <cerrno>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/run/io_queue.h"

namespace terrace::run {
namespace {

class UringQueue final : public IoQueue {
 public:
  /// `result`: 0, or what the kernel refused with; then there is no ring.
  UringQueue(u32 capacity, int& result) { result = io_uring_queue_init(capacity, &ring_, 0); }
  ~UringQueue() override {
    while (in_flight_ > 0) {
      io_uring_cqe* cqe = nullptr;
      const int r = io_uring_wait_cqe(&ring_, &cqe);
      if (r == -EINTR || r == -EAGAIN) continue;
      if (r < 0) break;  // closing the ring waits for the rest
      io_uring_cqe_seen(&ring_, cqe);
      --in_flight_;
    }
    if (ring_.ring_fd > 0) io_uring_queue_exit(&ring_);
  }
  UringQueue(const UringQueue&) = delete;
  UringQueue& operator=(const UringQueue&) = delete;

  void submit(std::span<const IoRequest> requests) override {
    for (const IoRequest& q : requests) {
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      if (sqe == nullptr) throw Error(ErrorKind::failure, "more reads in flight than the ring holds");
      io_uring_prep_read(sqe, q.fd, q.to, q.bytes, q.offset);
      io_uring_sqe_set_data64(sqe, q.slot);
    }
    u32 left = static_cast<u32>(requests.size());
    while (left > 0) {
      const int r = io_uring_submit(&ring_);
      if (r == -EINTR || r == -EAGAIN || r == -EBUSY) continue;
      if (r < 0) throw Error(ErrorKind::failure, fmt::format("io_uring refused reads: {}", std::strerror(-r)));
      in_flight_ += static_cast<u32>(r);
      left -= std::min(left, static_cast<u32>(r));
    }
  }

  std::size_t reap(std::span<IoCompletion> out, bool wait) override {
    io_uring_cqe* cqe = nullptr;
    while (wait && in_flight_ > 0) {
      const int r = io_uring_wait_cqe(&ring_, &cqe);
      if (r == 0) break;
      if (r != -EINTR && r != -EAGAIN)
        throw Error(ErrorKind::failure, fmt::format("waiting for io_uring: {}", std::strerror(-r)));
    }
    std::size_t n = 0;
    while (n < out.size() && io_uring_peek_cqe(&ring_, &cqe) == 0) {
      out[n++] = {static_cast<u32>(io_uring_cqe_get_data64(cqe)), cqe->res};
      io_uring_cqe_seen(&ring_, cqe);
      --in_flight_;
    }
    return n;
  }

 private:
  io_uring ring_{};
  u32 in_flight_ = 0;
};

}  // namespace

std::unique_ptr<IoQueue> make_uring_queue(u32 capacity, std::string& error) {
  // Memory first: a ring that found no owner would stay open.
  int r = 0;
  auto queue = std::make_unique<UringQueue>(capacity, r);
  if (r == 0) return queue;
  error = std::strerror(-r);
  return nullptr;
}

}  // namespace terrace::run
