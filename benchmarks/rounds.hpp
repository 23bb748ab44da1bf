// Which of several ways is faster, and by how much, while the machine's speed drifts? Interleaved rounds and medians.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace replica_router::benchmarks {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// A duration as a number of nanoseconds, microseconds, milliseconds.
inline double nanoseconds_of(Clock::duration d) { return std::chrono::duration<double, std::nano>(d).count(); }
inline double microseconds_of(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }
inline double milliseconds_of(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

/// The value below which that part of the values lies; zero when there are none.
inline double quantile(std::vector<double> values, double part) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(part * static_cast<double>(values.size())))];
}

/// The value in the middle; between two, their mean.
inline double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  auto const size = values.size();
  return size == 0 ? 0 : (values[(size - 1) / 2] + values[size / 2]) / 2;
}

/// One way of doing it: `measure` does it for a while and returns the figure of this round.
struct Side {
  std::string name;
  std::function<double()> measure;
};

/// Every side measured once a round, each round beginning with another side, after one round that does not count.
///
/// Drift of the machine hits all sides of a round alike, so ratios are taken within a round, and their median is told.
/// Before each measurement `pause` lets the servers end what the side before has set off: probes, replay, a session's
/// end. It would be charged to the next one.
class Rounds {
 public:
  Rounds(std::vector<Side> const& sides, int count, Clock::duration pause = {}) : figures_(sides.size()) {
    for (int round = -1; round < count; ++round) {
      for (std::size_t i = 0; i < sides.size(); ++i) {
        auto const side = (i + static_cast<std::size_t>(round + 1)) % sides.size();
        std::this_thread::sleep_for(pause);
        auto const figure = sides[side].measure();
        if (round >= 0) {
          figures_[side].push_back(figure);
        }
      }
    }
  }

  /// Nothing measured yet.
  Rounds() = default;

  /// Takes in rounds of the same sides, measured on other connections: a server process may be faster than the next for
  /// as long as it lives, by where its memory lies, and so what is compared must not always run on the same ones.
  void add(Rounds const& others) {
    figures_.resize(others.figures_.size());
    for (std::size_t side = 0; side < figures_.size(); ++side) {
      figures_[side].insert(figures_[side].end(), others.figures_[side].begin(), others.figures_[side].end());
    }
  }

  /// The median of a side's figures.
  double median(std::size_t side) const { return median_of(figures_.at(side)); }

  /// The median of the rounds' ratios of one side's figure to another's.
  double ratio(std::size_t side, std::size_t to) const { return median_of(ratios(side, to)); }

  /// The ratios between which half of the rounds lie: a wide range means that the machine was not quiet.
  std::pair<double, double> middle_half(std::size_t side, std::size_t to) const {
    return {quantile(ratios(side, to), 0.25), quantile(ratios(side, to), 0.75)};
  }

 private:
  std::vector<double> ratios(std::size_t side, std::size_t to) const {
    std::vector<double> out;
    for (std::size_t round = 0; round < figures_.at(side).size(); ++round) {
      out.push_back(figures_[side][round] / figures_.at(to)[round]);
    }
    return out;
  }

  std::vector<std::vector<double>> figures_;
};

/// Nanoseconds that one call takes, over calls made for about `span`; the clock is read once a batch. One call before
/// does not count: what the first one after a pause meets is not what goes on.
template <class Operation>
double time_of(Operation&& operation, Clock::duration span, int batch = 1) {
  operation();
  auto const begin = Clock::now();
  std::size_t calls = 0;
  for (;;) {
    for (int i = 0; i < batch; ++i) {
      operation();
    }
    calls += static_cast<std::size_t>(batch);
    if (auto const elapsed = Clock::now() - begin; elapsed >= span) {
      return nanoseconds_of(elapsed) / static_cast<double>(calls);
    }
  }
}

/// Calls a second, of all threads together, each calling what `make(thread)` has made for it until `span` is over.
/// Throws: what a call threw.
template <class Make>
double rate_of(int threads, Clock::duration span, Make make, int batch = 1) {
  std::atomic<int> ready{0};
  std::atomic<bool> is_stopping{false};
  std::vector<std::future<std::size_t>> workers;
  auto const work = [&](int thread) {
    struct Ready {  // also when making fails: nobody waits for this thread then
      std::atomic<int>& count;
      bool is_told = false;
      void tell() {
        if (!std::exchange(is_told, true)) {
          ++count;
        }
      }
      ~Ready() { tell(); }
    } readiness{ready};
    auto operation = make(thread);
    operation();
    readiness.tell();
    while (ready.load() <= threads) {
      std::this_thread::yield();
    }
    std::size_t calls = 0;
    while (!is_stopping.load(std::memory_order_relaxed)) {
      for (int i = 0; i < batch; ++i) {
        operation();
      }
      calls += static_cast<std::size_t>(batch);
    }
    return calls;
  };
  for (int thread = 0; thread < threads; ++thread) {
    workers.push_back(std::async(std::launch::async, work, thread));
  }
  while (ready.load() < threads) {
    std::this_thread::yield();
  }
  auto const begin = Clock::now();
  ++ready;
  std::this_thread::sleep_until(begin + span);
  is_stopping.store(true);
  auto const elapsed = Clock::now() - begin;
  std::size_t calls = 0;
  std::exception_ptr failure;
  for (auto& worker : workers) {
    try {
      calls += worker.get();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
  return static_cast<double>(calls) / std::chrono::duration<double>(elapsed).count();
}

}  // namespace replica_router::benchmarks
