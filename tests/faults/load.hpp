// What do the users of a router see while something breaks? Readers and writers on it, and the books on both.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cluster_options.hpp"
#include "faults/fault_table.hpp"

namespace replica_router::testing {

/// How many threads do what.
struct LoadShape {
  int readers = 4;
  int writers = 2;
  /// Takes a moment, so that reads are in flight whenever something happens.
  std::string read = "SELECT pg_sleep(0.003)";
  WriteOptions write = {.deadline = std::chrono::seconds{20}};
};

/// The table that the writers write to. It has no key, so that a write that was run twice shows.
inline void create_entries(testing::Cluster& cluster) {
  cluster.primary().execute("CREATE TABLE entry(id bigint NOT NULL)");
  cluster.wait_until_caught_up();
}

/// Reader and writer threads that run until `stop()` or the end of the scope. Each write has an id of its own.
///
/// Thread safety: all calls but `stop()` from any thread. Lifetime: the router must outlive it.
class Load {
 public:
  using Clock = std::chrono::steady_clock;

  template <class Router>
  explicit Load(Router& db, LoadShape const& shape = {})
      : Load{shape, [&db, sql = shape.read] { db.read([&](pqxx::transaction_base& tx) { tx.exec(sql); }); },
             [&db, options = shape.write](std::int64_t id) {
               db.session().write(options, [&](pqxx::dbtransaction& tx) {
                 tx.exec("INSERT INTO entry SELECT $1::bigint FROM pg_sleep(0.003)", pqxx::params{id});
               });
             }} {}

  Load(LoadShape const& shape, std::function<void()> const& read, std::function<void(std::int64_t)> const& write) {
    auto const readers = static_cast<std::size_t>(shape.readers);
    auto const all = readers + static_cast<std::size_t>(shape.writers);
    per_thread_.resize(all);
    under_way_since_.resize(all);
    for (std::size_t i = 0; i < all; ++i) {
      threads_.emplace_back([this, i, is_reader = i < readers, read, write] {
        while (!is_stopping_) {
          begin_call(i);
          is_reader ? run_read(read) : run_write(write);
          end_call(i);
        }
      });
    }
  }
  Load(Load const&) = delete;
  Load& operator=(Load const&) = delete;
  ~Load() { stop(); }

  /// Returns when every call has ended.
  void stop() {
    is_stopping_ = true;
    for (auto& thread : threads_) {
      thread.join();
    }
    threads_.clear();
  }

  /// The fault happens now: what was slow before it does not count.
  void mark() {
    std::lock_guard const guard{mutex_};
    marked_at_ = Clock::now();
    longest_read_ = {};
    first_write_at_.reset();
    read_times_.clear();
    write_times_.clear();
  }

  std::size_t reads() const { return counted(reads_); }
  std::size_t acknowledged() const {
    std::lock_guard const guard{mutex_};
    return acknowledged_.size();
  }
  /// The messages of the reads that failed.
  std::vector<std::string> failed_reads() const { return copied(failed_reads_); }
  /// The messages of the writes of which the router said that nothing was committed.
  std::vector<std::string> refusals() const { return copied(refusals_); }
  /// How many writes ended as `CommitInDoubt`.
  std::size_t doubts() const {
    std::lock_guard const guard{mutex_};
    return doubtful_.size();
  }
  /// The longest read since the mark.
  std::chrono::milliseconds longest_read() const { return rounded(counted(longest_read_)); }
  /// The longest write since the mark.
  std::chrono::milliseconds longest_write() const {
    auto const times = copied(write_times_);
    return times.empty() ? std::chrono::milliseconds{} : rounded(*std::max_element(times.begin(), times.end()));
  }
  /// How long half of the reads since the mark took at most.
  std::chrono::milliseconds median_read() const { return median(copied(read_times_)); }
  std::chrono::milliseconds median_write() const { return median(copied(write_times_)); }
  /// How many reads since the mark took at least that long.
  std::size_t reads_of_at_least(std::chrono::milliseconds limit) const {
    auto const times = copied(read_times_);
    return static_cast<std::size_t>(
        std::count_if(times.begin(), times.end(), [&](auto time) { return time >= limit; }));
  }
  /// How many calls each thread has ended so far, readers first.
  std::vector<std::size_t> calls_of_each_thread() const { return copied(per_thread_); }

  /// Returns when so many more reads, and then so many more acknowledged writes, have ended.
  void wait_for(std::size_t more_reads, std::size_t more_writes = 0) const {
    auto const wanted_reads = reads() + more_reads;
    auto const wanted_writes = acknowledged() + more_writes;
    eventually(
        fmt::format("{} more reads and {} more writes have succeeded", more_reads, more_writes),
        std::chrono::seconds{60}, [&] { return reads() >= wanted_reads && acknowledged() >= wanted_writes; },
        [&] {
          return fmt::format("{} reads of {}, {} writes of {}", reads(), wanted_reads, acknowledged(), wanted_writes);
        });
  }

  /// Returns when every call that is under way now has ended.
  void wait_for_calls_under_way() const {
    auto const now = Clock::now();
    auto const count = [&] {
      std::lock_guard const guard{mutex_};
      return std::count_if(under_way_since_.begin(), under_way_since_.end(),
                           [&](auto const& since) { return since && *since < now; });
    };
    eventually(
        "every call under way has ended", std::chrono::seconds{10}, [&] { return count() == 0; },
        [&] { return fmt::format("{} have not", count()); });
  }
  /// From the mark until the first write after it was acknowledged; negative when none was.
  std::chrono::milliseconds until_first_write() const {
    std::lock_guard const guard{mutex_};
    return first_write_at_ ? rounded(*first_write_at_ - marked_at_) : std::chrono::milliseconds{-1};
  }
  /// From the mark until the last call that failed or took longer than 100 ms was over.
  std::chrono::milliseconds until_normal() const {
    std::lock_guard const guard{mutex_};
    return rounded(std::max(last_disturbed_ - marked_at_, Clock::duration::zero()));
  }

  /// Stops, compares the books with the table on the primary that survived, and puts the fault's row into the table.
  /// Checks what holds for every fault: no read failed, no acknowledged write is lost, none was run twice, and none
  /// that was refused was carried out after all.
  void settle(std::string const& fault, ClusterNode const& survivor) {
    stop();
    settle(fault, survivor, until_normal());
  }

  /// As above, with a time of its own.
  void settle(std::string const& fault, ClusterNode const& survivor, std::chrono::milliseconds until_normal) {
    stop();
    auto const written = times_written(survivor);
    auto const is_there = [&](std::int64_t id) { return written.count(id) != 0; };
    std::size_t lost = 0;
    std::size_t refused_yet_there = 0;
    std::size_t run_twice = 0;
    for (auto const id : acknowledged_) {
      lost += is_there(id) ? 0U : 1U;
    }
    for (auto const id : refused_) {
      refused_yet_there += is_there(id) ? 1U : 0U;
    }
    for (auto const& [id, times] : written) {
      run_twice += times > 1 ? 1U : 0U;
    }
    fault_rows().push_back({fault, reads_, failed_reads_.size(), writes_, acknowledged_.size(), lost, until_normal});
    INFO(fault);
    CHECK(failed_reads_ == std::vector<std::string>{});
    CHECK(lost == 0);
    CHECK(run_twice == 0);
    CHECK(refused_yet_there == 0);
  }

 private:
  static constexpr std::chrono::milliseconds unnoticed{100};

  static std::map<std::int64_t, int> times_written(ClusterNode const& node) {
    std::istringstream text{
        node.query("SELECT string_agg(id || ' ' || times, ' ') FROM (SELECT id, count(*) AS times FROM entry GROUP BY "
                   "id) AS all_ids")};
    std::map<std::int64_t, int> out;
    std::int64_t id = 0;
    int times = 0;
    while (text >> id >> times) {
      out[id] = times;
    }
    return out;
  }

  static std::chrono::milliseconds rounded(Clock::duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time);
  }

  static std::chrono::milliseconds median(std::vector<Clock::duration> times) {
    if (times.empty()) {
      return {};
    }
    auto const middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return rounded(*middle);
  }

  template <class Value>
  Value counted(Value const& value) const {
    std::lock_guard const guard{mutex_};
    return value;
  }
  template <class Value>
  std::vector<Value> copied(std::vector<Value> const& values) const {
    std::lock_guard const guard{mutex_};
    return values;
  }

  void begin_call(std::size_t thread) {
    std::lock_guard const guard{mutex_};
    under_way_since_[thread] = Clock::now();
  }
  void end_call(std::size_t thread) {
    std::lock_guard const guard{mutex_};
    under_way_since_[thread].reset();
    ++per_thread_[thread];
  }

  void run_read(std::function<void()> const& read) {
    auto const began = Clock::now();
    std::string failure;
    try {
      read();
    } catch (std::exception const& error) {
      failure = error.what();
    }
    auto const ended = Clock::now();
    std::lock_guard const guard{mutex_};
    ++reads_;
    longest_read_ = std::max(longest_read_, ended - began);
    read_times_.push_back(ended - began);
    if (!failure.empty()) {
      failed_reads_.push_back(failure);
    }
    note(began, ended, failure);
  }

  void run_write(std::function<void(std::int64_t)> const& write) {
    static std::atomic<std::int64_t> last_id{0};
    auto const id = ++last_id;
    auto const began = Clock::now();
    std::string failure;
    bool is_in_doubt = false;
    try {
      write(id);
    } catch (CommitInDoubt const& error) {
      failure = error.what();
      is_in_doubt = true;
    } catch (std::exception const& error) {
      failure = error.what();
    }
    auto const ended = Clock::now();
    std::lock_guard const guard{mutex_};
    ++writes_;
    write_times_.push_back(ended - began);
    (failure.empty() ? acknowledged_ : is_in_doubt ? doubtful_ : refused_).push_back(id);
    if (failure.empty() && !first_write_at_) {
      first_write_at_ = ended;
    }
    if (!failure.empty() && !is_in_doubt) {
      refusals_.push_back(failure);
    }
    note(began, ended, failure);
  }

  void note(Clock::time_point began, Clock::time_point ended, std::string const& failure) {
    if (!failure.empty() || ended - began > unnoticed) {
      last_disturbed_ = std::max(last_disturbed_, ended);
    }
  }

  std::atomic<bool> is_stopping_{false};
  mutable std::mutex mutex_;
  Clock::time_point marked_at_ = Clock::now();
  Clock::time_point last_disturbed_{};
  std::optional<Clock::time_point> first_write_at_;
  Clock::duration longest_read_{};
  std::size_t reads_ = 0;
  std::size_t writes_ = 0;
  std::vector<Clock::duration> read_times_;
  std::vector<Clock::duration> write_times_;
  std::vector<std::string> failed_reads_;
  std::vector<std::string> refusals_;
  std::vector<std::int64_t> acknowledged_;
  std::vector<std::int64_t> refused_;
  std::vector<std::int64_t> doubtful_;
  std::vector<std::size_t> per_thread_;
  std::vector<std::optional<Clock::time_point>> under_way_since_;
  std::vector<std::thread> threads_;
};

}  // namespace replica_router::testing
