// Communicator over MPI, for processes on CPUs.
//
// Every wait is a loop over MPI_Test. The loop yields the processor to the other processes, receives the notice of a
// process that has failed, and finds out when a process of this machine is gone. Collectives are nonblocking for the
// same reason. Open MPI moves their data only during calls to MPI, so calls of advance() between the operations of a
// backward pass overlap communication and computation; a thread for this would take a core from the computation.
#include <mpi.h>

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <numeric>
#include <optional>

#include <fulcrum/core/mpi/communicator.h>
#include <fulcrum/core/profile.h>

namespace fulcrum::mpi {

namespace {

using Clock = std::chrono::steady_clock;

void check_status(int status, const char* expression) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  fail("[mpi] ", expression, ": ", std::string(text.data(), static_cast<size_t>(length)));
}

#define FULCRUM_MPI_CHECK(expression) check_status((expression), #expression)

int count_of(int64_t n) {
  check(n <= INT_MAX, "[mpi] expected at most ", INT_MAX, " elements, got ", n);
  return static_cast<int>(n);
}

MPI_Datatype type_of(const Tensor& t) {
  switch (t.dtype()) {
    case DType::kF32: return MPI_FLOAT;
    case DType::kF64: return MPI_DOUBLE;
    case DType::kI64: return MPI_INT64_T;
    default: fail("[all_reduce] expected f32, f64 or i64, got ", t.dtype());
  }
}

void check_host(const Tensor& t, const char* what) {
  check(t.device().is_cpu(), "[", what, "] expected a tensor on the CPU, got one on ", t.device());
}

/// The notices that a failing process sends to the others.
enum Notice : int { kFails = 0, kPrints = 1, kHasPrinted = 2 };

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator() : Communicator(find_place()) {
    for (MPI_Comm* comm : {&data_, &gradients_, &notices_}) {
      FULCRUM_MPI_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, comm));
      FULCRUM_MPI_CHECK(MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN));
    }
    meet_neighbours();
  }

  void all_reduce(Tensor& values) override {
    MPI_Request request = begin_sum(values, data_);
    wait(request);
    profile_mark("all_reduce");
  }

  void start_all_reduce(const Tensor& values) override { started_.push_back(begin_sum(values, gradients_)); }

  void advance() override {
    if (started_.empty()) return;
    int done = 0;
    FULCRUM_MPI_CHECK(MPI_Testall(count_of(std::ssize(started_)), started_.data(), &done, MPI_STATUSES_IGNORE));
    if (done) started_.clear();
  }

  void finish() override {
    for (MPI_Request& request : started_) wait(request);
    started_.clear();
    profile_mark("all_reduce (wait)");
  }

  void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>& rows) override {
    check_host(all, "all_gather");
    const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    const int64_t mine = rows[static_cast<size_t>(rank())];
    check(std::ssize(rows) == size() && all.size(0) == total && (part ? part.size(0) : 0) == mine,
          "[all_gather] expected ", mine, " rows of ", total);
    const int64_t row_bytes = static_cast<int64_t>(all.bytes()) / total;
    std::vector<int> counts, offsets;
    int64_t offset = 0;
    for (const int64_t n : rows) {
      counts.push_back(count_of(n * row_bytes));
      offsets.push_back(count_of(offset));
      offset += n * row_bytes;
    }
    MPI_Request request;
    FULCRUM_MPI_CHECK(MPI_Iallgatherv(part ? part.raw() : nullptr, count_of(mine * row_bytes), MPI_BYTE, all.raw(),
                                      counts.data(), offsets.data(), MPI_BYTE, data_, &request));
    wait(request);
    profile_mark("all_gather");
  }

  void broadcast(Tensor& values) override {
    check_host(values, "broadcast");
    auto* at = static_cast<char*>(values.raw());
    constexpr int64_t kMost = int64_t{1} << 30;
    for (auto left = static_cast<int64_t>(values.bytes()); left > 0; left -= kMost, at += kMost) {
      MPI_Request request;
      FULCRUM_MPI_CHECK(MPI_Ibcast(at, count_of(std::min(left, kMost)), MPI_BYTE, 0, data_, &request));
      wait(request);
    }
  }

  // Of all failing processes, the one of the lowest rank prints the reason: each waits a second for notices of the
  // others (rank 0 need not wait).
  bool fail(int exit_code) override {
    if (failed_) return false;
    failed_ = true;
    send_notices({kFails, exit_code});
    const auto limit = Clock::now() + std::chrono::seconds(rank() == 0 ? 0 : 1);
    do {
      while (const auto heard = receive_notice())
        if (heard->kind != kFails || heard->rank < rank()) return false;
      sched_yield();
    } while (Clock::now() < limit);
    send_notices({kPrints, exit_code});
    return prints_ = true;
  }

  void await_failure() override {
    while (true) {
      look_for_failures();
      sched_yield();
    }
  }

  void shut_down(bool failed) override {
    if (failed) {
      // Processes that wait have received the notice. Others may compute for minutes, but the launcher ends them as
      // soon as one process has left. So none leaves before the reason is printed.
      std::fflush(nullptr);
      if (prints_) send_notices({kHasPrinted, 0});
      const auto limit = Clock::now() + std::chrono::seconds(3);
      while (!prints_ && !has_printed_ && Clock::now() < limit) {
        receive_notice();
        sched_yield();
      }
      return;
    }
    barrier();
    MPI_Finalize();
  }

 private:
  struct Heard {
    int rank, kind, exit_code;
  };
  struct Neighbour {
    int rank;
    pid_t process;
  };

  static Place find_place() {
    Place p;
    MPI_Comm machine;
    FULCRUM_MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &p.rank));
    FULCRUM_MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &p.size));
    FULCRUM_MPI_CHECK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, p.rank, MPI_INFO_NULL, &machine));
    FULCRUM_MPI_CHECK(MPI_Comm_rank(machine, &p.local_rank));
    FULCRUM_MPI_CHECK(MPI_Comm_size(machine, &p.local_size));
    FULCRUM_MPI_CHECK(MPI_Comm_free(&machine));
    return p;
  }

  MPI_Request begin_sum(const Tensor& values, MPI_Comm comm) {
    check_host(values, "all_reduce");
    MPI_Request request;
    FULCRUM_MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE, const_cast<void*>(values.raw()), count_of(values.numel()),
                                     type_of(values), MPI_SUM, comm, &request));
    return request;
  }

  void wait(MPI_Request& request) {
    for (int64_t turn = 0;; turn++) {
      int done = 0;
      FULCRUM_MPI_CHECK(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
      if (done) return;
      if (turn < kSpins) continue;
      sched_yield();
      if (turn % kSpins == 0) look_for_failures();
    }
  }

  void look_for_failures() {
    if (const auto heard = receive_notice())
      throw PeerFailed(concat_text("process ", heard->rank, " has failed"), heard->exit_code, /*silent=*/true);
    const auto now = Clock::now();
    if (now - last_look_ < std::chrono::milliseconds(200)) return;
    last_look_ = now;
    for (const Neighbour& n : neighbours_)
      if (::kill(n.process, 0) != 0 && errno == ESRCH && !receive_notice())
        throw PeerFailed(
            concat_text("process ", n.rank, " (pid ", n.process, ") is gone: it was killed, or has crashed"),
            /*exit_code=*/1, /*silent=*/false);
  }

  std::optional<Heard> receive_notice() {
    int there = 0;
    MPI_Status status;
    FULCRUM_MPI_CHECK(MPI_Iprobe(MPI_ANY_SOURCE, 0, notices_, &there, &status));
    if (!there) return std::nullopt;
    std::array<int, 2> said{};
    FULCRUM_MPI_CHECK(MPI_Recv(said.data(), 2, MPI_INT, status.MPI_SOURCE, 0, notices_, MPI_STATUS_IGNORE));
    has_printed_ |= said[0] == kHasPrinted;
    return Heard{status.MPI_SOURCE, said[0], said[1]};
  }

  void send_notices(std::array<int, 2> message) {
    // Static: both outlive this function if nobody receives within the limit, and a later message must not change one
    // that is still on its way.
    static std::deque<std::array<int, 2>> messages;
    static std::vector<MPI_Request> requests;
    std::array<int, 2>& said = messages.emplace_back(message);
    for (int r = 0; r < size(); r++)
      if (r != rank()) MPI_Isend(said.data(), 2, MPI_INT, r, 0, notices_, &requests.emplace_back());
    const auto limit = Clock::now() + std::chrono::seconds(1);
    for (int done = 0; !done && Clock::now() < limit;)  // nobody need receive: eight bytes are sent at once
      MPI_Testall(count_of(std::ssize(requests)), requests.data(), &done, MPI_STATUSES_IGNORE);
  }

  // Finds the processes of this machine, which kill() can look for; the launcher notices when those of others are gone.
  void meet_neighbours() {
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    // Containers may share a host name, but process numbers are valid only within one container.
    std::error_code none;
    const std::string here = host.data() + std::filesystem::read_symlink("/proc/self/ns/pid", none).string();
    const auto all = Communicator::all_gather(concat_text(::getpid(), " ", here));
    for (int r = 0; r < size(); r++) {
      const std::string& text = all[static_cast<size_t>(r)];
      if (r != rank() && text.substr(text.find(' ') + 1) == here) neighbours_.push_back({r, std::stoi(text)});
    }
  }

  static constexpr int kSpins = 256;
  // start_all_reduce() has a communicator of its own, gradients_: a sum of gradients starts when a bucket is complete,
  // before another sum in one process and after it in another, and MPI matches collectives by their order.
  MPI_Comm data_ = MPI_COMM_NULL, gradients_ = MPI_COMM_NULL, notices_ = MPI_COMM_NULL;
  std::vector<MPI_Request> started_;
  std::vector<Neighbour> neighbours_;
  Clock::time_point last_look_{};
  bool failed_ = false, prints_ = false, has_printed_ = false;
};

}  // namespace

std::unique_ptr<Communicator> connect() {
  int threads = 0;
  FULCRUM_MPI_CHECK(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threads));
  check(threads >= MPI_THREAD_FUNNELED, "[mpi] expected a library that bears threads beside it");
  return std::make_unique<MpiCommunicator>();
}

std::string describe() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  FULCRUM_MPI_CHECK(MPI_Get_library_version(text.data(), &length));
  const std::string all(text.data(), static_cast<size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));  // Open MPI's text goes on with how it was built
}

}  // namespace fulcrum::mpi
