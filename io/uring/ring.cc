#include "io/uring/ring.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "io/base/check.h"

namespace metastore::io::uring {
namespace {

std::optional<int> ReadDisabledSetting() {
  std::FILE* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re");
  if (file == nullptr) return std::nullopt;
  char digit = 0;
  const size_t got = std::fread(&digit, 1, 1, file);
  std::fclose(file);
  if (got != 1) return std::nullopt;
  return digit - '0';
}

struct NeededOperation {
  int opcode;
  const char* name;
};

constexpr NeededOperation kNeeded[] = {
    {IORING_OP_POLL_ADD, "POLL_ADD"},
    {IORING_OP_READ, "READ"},
    {IORING_OP_READ_FIXED, "READ_FIXED"},
    {IORING_OP_WRITE, "WRITE"},
    {IORING_OP_WRITE_FIXED, "WRITE_FIXED"},
    {IORING_OP_FSYNC, "FSYNC"},
    {IORING_OP_FALLOCATE, "FALLOCATE"},
    {IORING_OP_ACCEPT, "ACCEPT"},
    {IORING_OP_CONNECT, "CONNECT"},
    {IORING_OP_RECV, "RECV"},
    {IORING_OP_SEND, "SEND"},
    {IORING_OP_CLOSE, "CLOSE"},
    {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
    {IORING_OP_MSG_RING, "MSG_RING"},
};

}  // namespace

Status DescribeSetupFailure(int error, std::optional<int> disabled) {
  constexpr std::string_view kSeccomp =
      "a seccomp filter or security module forbids it: allow io_uring_setup, io_uring_enter and "
      "io_uring_register "
      "(containers: --security-opt seccomp=<profile that allows them>)";
  if (error == ENOSYS) {
    return FailedPreconditionError(
        "io_uring: not available (ENOSYS): the kernel was built without it, or ", kSeccomp);
  }
  if (error == EPERM || error == EACCES) {
    if (disabled == 2) {
      return FailedPreconditionError(
          "io_uring: switched off for all processes by /proc/sys/kernel/io_uring_disabled = "
          "2: run sysctl -w kernel.io_uring_disabled=0");
    }
    if (disabled == 1) {
      return FailedPreconditionError(
          "io_uring: /proc/sys/kernel/io_uring_disabled = 1 forbids it to this user: run "
          "sysctl -w kernel.io_uring_disabled=0, or add the user to the group of "
          "/proc/sys/kernel/io_uring_group");
    }
    return FailedPreconditionError("io_uring: refused (", strerrorname_np(error), "): ", kSeccomp);
  }
  if (error == ENOMEM) {
    return FailedPreconditionError(
        "io_uring: no memory for the rings (ENOMEM): raise RLIMIT_MEMLOCK (ulimit -l) or the "
        "memory limit of the control group");
  }
  if (error == EINVAL) {
    return FailedPreconditionError(
        "io_uring: this kernel refuses the ring's flags (EINVAL): version ", kKernelMajorMin, ".",
        kKernelMinorMin, " or later is needed");
  }
  return FailedPreconditionError("io_uring: setup failed: ", strerrorname_np(error) == nullptr
                                                                 ? "unknown error"
                                                                 : strerrorname_np(error));
}

void Ring::Queue::Push(RingOp& op) {
  op.next = nullptr;
  if (tail == nullptr) {
    head = &op;
  } else {
    tail->next = &op;
  }
  tail = &op;
}

RingOp& Ring::Queue::Pop() {
  RingOp& op = *head;
  head = op.next;
  if (head == nullptr) tail = nullptr;
  op.next = nullptr;
  return op;
}

StatusOr<std::unique_ptr<Ring>> Ring::Create(const RingOptions& options) {
  CHECK_GE(options.cq_entries, 4 * options.sq_entries);
  std::unique_ptr<Ring> ring(new Ring);
  int result = -ENOMEM;
  // One large piece of memory, on older kernels contiguous: less will do where that is not to be
  // had.
  for (unsigned entries = options.cq_entries;
       result == -ENOMEM && entries >= 4 * options.sq_entries; entries /= 2) {
    io_uring_params params = {};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED;
    params.cq_entries = entries;
    result = options.setup ? options.setup(options.sq_entries, &ring->ring_, &params)
                           : io_uring_queue_init_params(options.sq_entries, &ring->ring_, &params);
    ring->in_flight_max_ = entries / 2;
    ring->urgent_max_ = entries / 4 * 3;
  }
  if (result < 0) {
    ring->ring_.ring_fd = -1;
    return DescribeSetupFailure(-result, ReadDisabledSetting());
  }
  MS_RETURN_IF_ERROR(ring->CheckOperations());
  return ring;
}

Ring::~Ring() {
  if (ring_.ring_fd >= 0) io_uring_queue_exit(&ring_);
}

Status Ring::CheckOperations() {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr)
    return FailedPreconditionError("io_uring: this kernel does not tell its operations (probe)");
  std::string missing;
  for (const NeededOperation& needed : kNeeded) {
    if (io_uring_opcode_supported(probe, needed.opcode) == 0) missing += Concat(" ", needed.name);
  }
  io_uring_free_probe(probe);
  if (missing.empty()) return OkStatus();
  return FailedPreconditionError("io_uring: this kernel lacks the operations", missing);
}

Status Ring::Enable() {
  int result = EnableRings(ring_);
  if (result < 0) return DescribeSetupFailure(-result, ReadDisabledSetting());
  // Saves a descriptor lookup per enter; without it everything works as well.
  result = io_uring_register_ring_fd(&ring_);
  if (result < 0 && result != -ENOMEM && result != -EINVAL && result != -EBUSY) {
    return DescribeSetupFailure(-result, ReadDisabledSetting());
  }
  // Worker threads serve fsync, fallocate and little else: four are enough for one reactor.
  unsigned workers[2] = {4, 4};
  (void)io_uring_register_iowq_max_workers(&ring_, workers);
  return OkStatus();
}

bool Ring::HasRoom(const RingOp& op) const {
  const size_t entries = op.chained == nullptr ? 1 : 2;
  const size_t max = op.urgent ? urgent_max_ : in_flight_max_;
  return in_flight_ + entries <= max && io_uring_sq_space_left(&ring_) >= entries;
}

void Ring::Prepare(RingOp& op) {
  for (RingOp* each = &op; each != nullptr; each = each->chained) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    CHECK(sqe != nullptr);
    each->prepare(*each, *sqe);
    io_uring_sqe_set_data(sqe, each);
    each->state = RingOp::State::kInFlight;
    ++in_flight_;
  }
}

void Ring::Queued(Queue& queue, RingOp& op) {
  op.state = RingOp::State::kQueued;
  op.cancel_queued = false;
  if (op.chained != nullptr) op.chained->state = RingOp::State::kQueued;
  queue.Push(op);
}

void Ring::Start(RingOp& op) {
  CHECK(op.state == RingOp::State::kIdle);
  Queue& queue = op.urgent ? urgent_ : plain_;
  if (queue.head == nullptr && HasRoom(op)) {
    Prepare(op);
  } else {
    Queued(queue, op);
  }
}

void Ring::StartLate(RingOp& op) {
  CHECK(op.state == RingOp::State::kIdle);
  CHECK(op.chained == nullptr);
  Queued(late_, op);
}

void Ring::Cancel(RingOp& op) {
  switch (op.state) {
    case RingOp::State::kIdle:
      return;
    case RingOp::State::kQueued:
      op.cancel_queued = true;
      return;
    case RingOp::State::kInFlight:
      Detached& request = NewDetached(Detached::Kind::kCancel, -1);
      request.target = reinterpret_cast<uint64_t>(&op);
      Start(request);
      return;
  }
}

void Ring::Close(int fd) { Start(NewDetached(Detached::Kind::kClose, fd)); }

void Ring::Wake(int ring_fd) { Start(NewDetached(Detached::Kind::kWake, ring_fd)); }

Ring::Detached& Ring::NewDetached(Detached::Kind kind, int fd) {
  if (free_detached_ == nullptr) {
    detached_.push_back(std::make_unique<Detached>());
    free_detached_ = detached_.back().get();
  }
  Detached& op = *std::exchange(free_detached_, free_detached_->next_free);
  op.next_free = nullptr;
  op.urgent = true;
  op.kind = kind;
  op.ring = this;
  op.fd = fd;
  op.prepare = PrepareDetached;
  op.complete = [](RingOp& self, int32_t, uint32_t) {
    auto& done = static_cast<Detached&>(self);
    done.next_free = std::exchange(done.ring->free_detached_, &done);
  };
  return op;
}

void Ring::PrepareDetached(RingOp& self, io_uring_sqe& sqe) {
  auto& op = static_cast<Detached&>(self);
  switch (op.kind) {
    case Detached::Kind::kClose:
      io_uring_prep_close(&sqe, op.fd);
      return;
    case Detached::Kind::kCancel:
      io_uring_prep_cancel64(&sqe, op.target, 0);
      return;
    case Detached::Kind::kWake:
      io_uring_prep_msg_ring(&sqe, op.fd, 0, 0, 0);  // user_data 0 over there: nobody's completion
      return;
  }
}

bool Ring::FillFrom(Queue& queue) {
  while (queue.head != nullptr) {
    if (queue.head->cancel_queued) {
      RingOp& op = queue.Pop();
      op.cancel_queued = false;
      RingOp* chained = op.chained;
      op.state = RingOp::State::kIdle;
      if (chained != nullptr) chained->state = RingOp::State::kIdle;
      op.complete(op, -ECANCELED, 0);
      if (chained != nullptr) chained->complete(*chained, -ECANCELED, 0);
      continue;
    }
    if (!HasRoom(*queue.head)) return false;
    Prepare(queue.Pop());
  }
  return true;
}

void Ring::Fill() {
  while (true) {
    if (FillFrom(urgent_) && FillFrom(plain_) && FillFrom(late_)) return;
    if (io_uring_sq_ready(&ring_) == 0) return;  // at a limit: what completes makes room
    ++enters_;
    const int submitted = io_uring_submit(&ring_);
    CheckEntered(submitted);
    if (submitted <= 0) return;  // the kernel first wants completions reaped, or memory
  }
}

void Ring::SubmitNow() {
  CHECK(!reaping_);
  if (!FillFrom(urgent_) || !FillFrom(plain_)) return;  // at a limit: the turn's Enter goes on
  if (io_uring_sq_ready(&ring_) == 0) return;
  ++enters_;
  CheckEntered(io_uring_submit(&ring_));
}

void Ring::CheckEntered(int result) {
  if (result >= 0) return;
  // EINTR: a debugger. ETIME: the sleep's end. EAGAIN: the kernel is short of memory. EBUSY: it
  // first wants completions reaped. All pass with the next turn.
  CHECK(result == -EINTR || result == -ETIME || result == -EAGAIN || result == -EBUSY);
}

void Ring::Enter(Wait wait, Duration timeout) {
  Fill();
  ++enters_;
  // What is queued now waits for the in-flight limit alone, so sleeping for a completion is right
  // in that case too.
  if (wait == Wait::kNo) {
    CheckEntered(io_uring_submit_and_get_events(&ring_));
  } else if (timeout.ns == INT64_MAX) {
    CheckEntered(io_uring_submit_and_wait(&ring_, 1));
  } else {
    __kernel_timespec spec = {.tv_sec = timeout.ns / 1'000'000'000,
                              .tv_nsec = timeout.ns % 1'000'000'000};
    io_uring_cqe* ignored = nullptr;
    CheckEntered(io_uring_submit_and_wait_timeout(&ring_, &ignored, 1, &spec, nullptr));
  }
}

size_t Ring::Reap() {
  reaping_ = true;
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++count;
    auto* op = static_cast<RingOp*>(io_uring_cqe_get_data(cqe));
    if (op == nullptr) continue;  // another ring's wake
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
      CHECK(op->state == RingOp::State::kInFlight);
      op->state = RingOp::State::kIdle;
      --in_flight_;
    }
    op->complete(*op, cqe->res, cqe->flags);
  }
  io_uring_cq_advance(&ring_, count);
  reaping_ = false;
  return count;
}

}  // namespace metastore::io::uring
