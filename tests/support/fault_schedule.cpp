#include "support/fault_schedule.hpp"

#include <fmt/format.h>

#include <utility>

namespace replica_router::testing {

using namespace std::chrono_literals;

std::string_view text_of(Fault fault) {
  switch (fault) {
    case Fault::replay_delay: return "replay delayed";
    case Fault::replay_pause: return "replay paused";
    case Fault::receiver_cut: return "WAL receiver cut";
    case Fault::link_delay: return "link delayed";
    case Fault::link_stall: return "link stalled";
    case Fault::link_drop: return "link dropped";
    case Fault::link_blackhole: return "link never answers";
    case Fault::answers_lost: return "answers lost";
    case Fault::kill: return "killed (-9)";
    case Fault::stop: return "stopped (SIGSTOP)";
    case Fault::crash: return "immediate shutdown";
    case Fault::restart: return "restarted";
  }
  return "unknown";
}

FaultPlan::FaultPlan(std::uint64_t seed, std::vector<Fault> faults, std::vector<std::size_t> nodes, Limits limits)
    : random_{seed}, faults_{std::move(faults)}, nodes_{std::move(nodes)}, limits_{limits} {}

std::chrono::milliseconds FaultPlan::between(std::chrono::milliseconds least, std::chrono::milliseconds most) {
  return least + std::chrono::milliseconds{below(static_cast<std::uint64_t>((most - least).count()) + 1)};
}

PlannedFault FaultPlan::next() {
  PlannedFault out{};
  out.fault = faults_[below(faults_.size())];
  out.node = nodes_[below(nodes_.size())];
  out.begins_after = between(limits_.least_pause, limits_.longest_pause);
  out.lasts = between(limits_.least_duration, limits_.longest_duration);
  out.amount = out.fault == Fault::link_delay ? between(1ms, 100ms) : between(50ms, 500ms);
  return out;
}

std::string slow_commits_on(std::string_view table) {
  return fmt::format(
      "CREATE FUNCTION commit_slowly() RETURNS trigger LANGUAGE plpgsql AS"
      " 'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END';"
      "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY DEFERRED"
      " FOR EACH ROW WHEN (NEW.is_slow_to_commit) EXECUTE FUNCTION commit_slowly();",
      table);
}

FaultStage::FaultStage(Cluster& cluster) : cluster_{cluster} {
  for (std::size_t index = 0; index <= cluster.replica_count(); ++index) {
    order_.push_back(index);
    links_.push_back(std::make_unique<TcpLink>(node(index).port()));
  }
}

std::string FaultStage::name_of(int server_port) {
  for (std::size_t index = 0; index < size(); ++index) {
    if (node(index).port() == server_port) {
      return node(index).name();
    }
  }
  return std::to_string(server_port);
}

std::vector<std::string> FaultStage::conninfos() const {
  std::vector<std::string> out;
  for (auto const& link : links_) {
    out.push_back(link->conninfo());
  }
  return out;
}

void FaultStage::begin(PlannedFault const& planned) {
  auto& target = node(planned.node);
  auto& its_link = link(planned.node);
  switch (planned.fault) {
    case Fault::replay_delay: target.delay_replay(planned.amount); break;
    case Fault::replay_pause: target.pause_replay(); break;
    case Fault::receiver_cut: target.cut_wal_receiver(); break;
    case Fault::link_delay: its_link.set_delay(planned.amount); break;
    case Fault::link_stall: its_link.set(LinkMode::stall); break;
    case Fault::link_drop: its_link.set(LinkMode::drop); break;
    case Fault::link_blackhole: its_link.set(LinkMode::blackhole); break;
    case Fault::answers_lost: its_link.set(LinkMode::stall_answers); break;
    case Fault::kill: target.kill(); break;
    case Fault::stop: target.suspend(); break;
    case Fault::crash: target.stop_immediate(); break;
    case Fault::restart: target.stop_fast(); break;
  }
}

void FaultStage::mend(PlannedFault const& planned) {
  auto& target = node(planned.node);
  auto& its_link = link(planned.node);
  switch (planned.fault) {
    case Fault::replay_delay: target.delay_replay(0ms); break;
    case Fault::replay_pause: target.resume_replay(); break;
    case Fault::receiver_cut: target.restore_wal_receiver(); break;
    case Fault::link_delay: its_link.set_delay(0ms); break;
    case Fault::link_stall:
    case Fault::link_drop:
    case Fault::link_blackhole: its_link.set(LinkMode::forward); break;
    case Fault::answers_lost:
      its_link.set(LinkMode::drop);
      its_link.set(LinkMode::forward);
      break;
    case Fault::stop: target.resume(); break;
    case Fault::kill:
    case Fault::crash:
    case Fault::restart: target.start(); break;
  }
}

FaultLane::FaultLane(FaultStage& stage, FaultPlan plan, std::function<void(PlannedFault const&)> on_begin)
    : stage_{stage}, on_begin_{std::move(on_begin)}, thread_{[this, plan] { run(plan); }} {}

FaultLane::~FaultLane() {
  try {
    stop();
  } catch (...) {  // told by whoever calls stop() itself
  }
}

void FaultLane::stop() {
  stop_.raise();
  if (thread_.joinable()) {
    thread_.join();
  }
  if (error_) {
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

bool FaultLane::has_failed() {
  std::lock_guard guard{mutex_};
  return error_ != nullptr;
}

void FaultLane::run(FaultPlan plan) {
  try {
    for (;;) {
      auto const planned = plan.next();
      if (!stop_.pause(planned.begins_after)) {
        return;
      }
      on_begin_(planned);
      stage_.begin(planned);
      bool const goes_on = stop_.pause(planned.lasts);
      stage_.mend(planned);
      if (!goes_on) {
        return;
      }
    }
  } catch (...) {
    std::lock_guard guard{mutex_};
    error_ = std::current_exception();
  }
}

}  // namespace replica_router::testing
