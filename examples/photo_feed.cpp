// The story of a photo service, told in a terminal: what the router does on a real primary with three real replicas.
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <future>
#include <iterator>
#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <replica_router/replica_router.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/cluster.hpp"

namespace {

namespace rr = replica_router;
using rr::testing::Cluster;
using rr::testing::ClusterNode;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// How long the story takes.
struct Script {
  milliseconds work = 3s;       ///< chapter 1
  int authors = 800;            ///< chapter 2, for each of its two policies
  int seconds_before_kill = 2;  ///< chapter 3
  int seconds_dead = 3;
  milliseconds warm_up = 3s;
};

constexpr Script short_script{.work = 1s, .authors = 240, .seconds_before_kill = 1, .seconds_dead = 2, .warm_up = 1s};
constexpr milliseconds slowness = 200ms;  // of one replica, on purpose
constexpr int worker_count = 8;

enum class Style { bold = 1, red = 31, green = 32 };

std::string styled(Style style, std::string_view text) {
  static bool const is_wanted = [] {
    char const* const refused = std::getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) == 1 && (refused == nullptr || *refused == '\0');
  }();
  return is_wanted ? fmt::format("\033[{}m{}\033[0m", static_cast<int>(style), text) : std::string{text};
}

void say(std::string_view text) {
  fmt::print("{}", text);
  std::fflush(stdout);
}

void headline(std::string_view text) { say(fmt::format("\n{}\n", styled(Style::bold, text))); }

int percent(long part, long whole) { return whole == 0 ? 0 : static_cast<int>((200 * part + whole) / (2 * whole)); }

/// A bar for a share in percent; full at sixty.
std::string bar(int share) { return std::string(static_cast<std::size_t>(std::min(share, 60) / 6), '#'); }

/// What the story claims, checked as it is told.
class Claims {
 public:
  void check(bool holds, std::string_view claim) {
    say(fmt::format("  {}  {}\n", holds ? styled(Style::green, "yes") : styled(Style::red, "NO "), claim));
    ++all_;
    broken_ += holds ? 0 : 1;
  }
  int all() const { return all_; }
  int broken() const { return broken_; }

 private:
  int all_ = 0;
  int broken_ = 0;
};

/// Thrown on the main thread after SIGINT or SIGTERM, so that everything is taken down in order.
struct Interrupted {};

std::atomic<bool> is_interrupted{false};

extern "C" void note_interruption(int) { is_interrupted.store(true); }

void catch_interruptions() {
  struct sigaction action {};
  action.sa_handler = note_interruption;
  // A second Ctrl-C ends the program at once; the fixture's guardian, a process of its own, still cleans up.
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void stop_if_interrupted() {
  if (is_interrupted.load()) {
    throw Interrupted{};
  }
}

void pause_until(Clock::time_point moment) {
  while (Clock::now() < moment) {
    stop_if_interrupted();
    std::this_thread::sleep_until(std::min(moment, Clock::now() + 50ms));
  }
}

template <class Work>
using Workers = std::vector<std::future<std::invoke_result_t<Work, int>>>;

/// Runs `work(number)` on as many threads as there are workers.
template <class Work>
Workers<Work> start_workers(Work work) {
  Workers<Work> workers;
  for (int number = 0; number < worker_count; ++number) {
    workers.push_back(std::async(std::launch::async, work, number));
  }
  return workers;
}

/// Waits for all of them, with a dot each half second, and adds up what they return.
template <class Result>
Result total_of(std::vector<std::future<Result>> workers) {
  Result total;
  for (auto& worker : workers) {
    while (worker.wait_for(500ms) != std::future_status::ready) {
      say(".");
    }
    total += worker.get();
  }
  say("\n");
  stop_if_interrupted();
  return total;
}

std::vector<ClusterNode*> nodes_of(Cluster& cluster) {
  std::vector<ClusterNode*> nodes{&cluster.primary()};
  for (std::size_t i = 0; i < cluster.replica_count(); ++i) {
    nodes.push_back(&cluster.replica(i));
  }
  return nodes;
}

rr::Options options_for(Cluster& cluster) {
  rr::Options options;
  options.primary = {cluster.primary().conninfo(), {.name = cluster.primary().name()}};
  for (std::size_t i = 0; i < cluster.replica_count(); ++i) {
    auto const& replica = cluster.replica(i);
    options.replicas.push_back({replica.conninfo(), {.name = replica.name()}});
  }
  return options;
}

/// A router serves at once, with whatever has answered; the story starts when every replica may serve.
template <class Router>
void wait_for_all_replicas(Router const& db) {
  auto const deadline = Clock::now() + 10s;
  for (;;) {
    auto const nodes = db.explain().nodes;
    auto const ready = std::ranges::count(nodes, rr::Verdict::eligible, &rr::NodeExplanation::verdict);
    if (ready + 1 == std::ssize(nodes) || Clock::now() > deadline) {
      return;
    }
    pause_until(Clock::now() + 10ms);
  }
}

// Chapter 1.

/// Requests for the feed, and photos posted.
struct Requests {
  long feeds = 0;
  long photos = 0;

  Requests& operator+=(Requests const& other) {
    feeds += other.feeds;
    photos += other.photos;
    return *this;
  }
};

/// A web worker's day: nine requests of ten show the newest photos, the tenth posts one. A session a request.
Requests serve_requests(rr::ReplicaRouter<>& db, int worker, Clock::time_point until) {
  Requests done;
  while (Clock::now() < until && !is_interrupted.load()) {
    auto visitor = db.session();
    if ((done.feeds + done.photos) % 10 == 9) {
      visitor.write([&](auto& tx) { tx.exec("INSERT INTO photo (owner) VALUES ($1)", pqxx::params{worker}); });
      ++done.photos;
    } else {
      visitor.read()->exec("SELECT id, owner FROM photo ORDER BY id DESC LIMIT 20");
      ++done.feeds;
    }
    std::this_thread::sleep_for(1ms);
  }
  return done;
}

/// What one server has counted since the photo table was made.
///
/// Of its many counters, two of this table: the router's probes touch no table, so they are not among them. The feed
/// walks once along the primary key's index; nobody else does. Rows that a replica takes over from the primary's log do
/// not count as inserted there, only those of INSERT statements that it runs itself.
Requests counted_by(ClusterNode const& node) {
  auto const counter = [&](std::string const& expression) {
    auto const text = node.query("SELECT " + expression + " FROM pg_stat_user_tables WHERE relname = 'photo'");
    return text.empty() ? 0 : std::stol(text);
  };
  return {counter("idx_scan"), counter("n_tup_ins")};
}

Requests sum_of(std::vector<Requests> const& counted) {
  Requests sum;
  for (auto const& one : counted) {
    sum += one;
  }
  return sum;
}

/// Every server's counters, once they show all that was done, or as they are after a while.
/// A server adds up what a connection did when it ends, but only seconds later while it is idle: close the router
/// first.
std::vector<Requests> settled_counts(std::vector<ClusterNode*> const& nodes, Requests const& done) {
  for (auto const deadline = Clock::now() + 15s;;) {
    std::vector<Requests> counted;
    for (auto const* node : nodes) {
      counted.push_back(counted_by(*node));
    }
    auto const sum = sum_of(counted);
    if ((sum.feeds >= done.feeds && sum.photos >= done.photos) || Clock::now() > deadline) {
      return counted;
    }
    pause_until(Clock::now() + 100ms);
  }
}

void tell_who_does_the_work(Cluster& cluster, Script const& script, Claims& claims) {
  headline("1. Who does the work?");
  say(
      fmt::format("{} web workers serve visitors: nine requests of ten show the newest photos, the\n"
                  "tenth posts one. The servers themselves count what they do ",
                  worker_count));
  std::optional<rr::ReplicaRouter<>> db{std::in_place, options_for(cluster)};
  wait_for_all_replicas(*db);
  auto const until = Clock::now() + script.work;
  auto const done = total_of(start_workers([&](int worker) { return serve_requests(*db, worker, until); }));
  db.reset();

  auto const nodes = nodes_of(cluster);
  auto const counted = settled_counts(nodes, done);
  auto const sum = sum_of(counted);
  say(fmt::format("  {:<10} {:>12} {:>21} {:>20}\n", "", "feeds shown", "share", "photos stored"));
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    auto const share = percent(counted[i].feeds, sum.feeds);
    say(fmt::format("  {:<10} {:>12}   {:>3} % {:<12} {:>20}\n", nodes[i]->name(), counted[i].feeds, share, bar(share),
                    counted[i].photos));
  }
  auto const took_a_share = [&](Requests const& replica) { return percent(replica.feeds, sum.feeds) >= 20; };
  claims.check(sum.feeds == done.feeds && sum.photos == done.photos,
               "the counts are exactly what the workers asked for");
  claims.check(counted[0].photos == sum.photos, "every photo was stored on the primary, and only there");
  claims.check(std::all_of(counted.begin() + 1, counted.end(), took_a_share),
               "every replica took its share of the reads");
  claims.check(percent(counted[0].feeds, sum.feeds) == 0, "the primary was left free for what only it can do");
}

// Chapter 2.

/// How it went for some authors who looked for the photo that they had just posted.
struct Looks {
  int authors = 0;
  int missed = 0;
  int served_by_replicas = 0;

  Looks& operator+=(Looks const& other) {
    authors += other.authors;
    missed += other.missed;
    served_by_replicas += other.served_by_replicas;
    return *this;
  }
};

/// Those who looked at once, and those who took a moment.
struct Audience {
  Looks at_once;
  Looks after_a_moment;

  Audience& operator+=(Audience const& other) {
    at_once += other.at_once;
    after_a_moment += other.after_a_moment;
    return *this;
  }
};

constexpr milliseconds moment = 20ms;

/// One author posts a photo, waits, and looks for it. The answer carries the name of the server that gave it.
Looks post_and_look(rr::ReplicaRouter<rr::AnyPolicy>& db, int owner, milliseconds wait) {
  auto author = db.session();
  auto const id = author.write([&](pqxx::transaction_base& tx) {
    return tx.query_value<long>("INSERT INTO photo (owner) VALUES ($1) RETURNING id", pqxx::params{owner});
  });
  std::this_thread::sleep_for(wait);
  auto const [is_there, server] = author.read()->query1<bool, std::string>(
      "SELECT EXISTS (SELECT FROM photo WHERE id = $1), current_setting('cluster_name')", pqxx::params{id});
  return {1, is_there ? 0 : 1, server == "primary" ? 0 : 1};
}

/// Has many authors post and look, half of them at once.
Audience gather_audience(Cluster& cluster, Script const& script, rr::AnyPolicy policy) {
  rr::ReplicaRouter db{options_for(cluster), std::move(policy)};
  wait_for_all_replicas(db);
  return total_of(start_workers([&](int worker) {
    Audience audience;
    for (int author = worker; author < script.authors && !is_interrupted.load(); author += worker_count) {
      bool const is_quick = author / worker_count % 2 == 0;
      (is_quick ? audience.at_once : audience.after_a_moment) += post_and_look(db, author, is_quick ? 0ms : moment);
    }
    return audience;
  }));
}

void tell_looks(std::string_view who, Looks const& looks) {
  auto const missed =
      fmt::format("{:>4} of {:<4} {:>3} %", looks.missed, looks.authors, percent(looks.missed, looks.authors));
  say(fmt::format("  {:<30} {:>18} {:>22} %\n", who, looks.missed == 0 ? missed : styled(Style::red, missed),
                  percent(looks.served_by_replicas, looks.authors)));
}

void tell_audience(std::string_view policy, Audience const& audience) {
  tell_looks(fmt::format("{}, at once", policy), audience.at_once);
  tell_looks(fmt::format("{}, after {} ms", policy, moment.count()), audience.after_a_moment);
}

void tell_who_misses_their_photo(Cluster& cluster, Script const& script, Claims& claims) {
  headline("2. Who misses their own photo?");
  say(
      fmt::format("{0} authors post a photo and look for it, half at once, half {1} ms later. Then\n"
                  "{0} more do, by another rule.\n"
                  "RoundRobin: the next replica in turn is asked ",
                  script.authors, moment.count()));
  auto const plain = gather_audience(cluster, script, rr::AnyPolicy{rr::RoundRobin{}});
  say("StickyAfterWrite: only a server proven to have the author's photo is asked ");
  auto const sticky = gather_audience(cluster, script, rr::AnyPolicy{rr::StickyAfterWrite{rr::RoundRobin{}}});
  say(fmt::format("  {:<30} {:>18} {:>24}\n", "", "missed their photo", "answered by a replica"));
  tell_audience("RoundRobin", plain);
  tell_audience("StickyAfterWrite", sticky);

  auto const missed = [](Audience const& audience) { return audience.at_once.missed + audience.after_a_moment.missed; };
  claims.check(missed(plain) > 0, "without care, authors miss what they have just posted");
  claims.check(missed(sticky) == 0, "with StickyAfterWrite, nobody does");
  claims.check(sticky.after_a_moment.served_by_replicas > sticky.after_a_moment.authors / 2,
               "and replicas still answer most of those who took a moment");
}

// Chapter 3.

/// How reads have gone.
struct Reads {
  long all = 0;
  long failed = 0;
  Clock::duration slowest{};
  std::string first_failure{};

  Reads& operator+=(Reads const& other) {
    all += other.all;
    failed += other.failed;
    slowest = std::max(slowest, other.slowest);
    first_failure = first_failure.empty() ? other.first_failure : first_failure;
    return *this;
  }
};

/// Web workers that read all the time, until they are told to stop.
class Load {
 public:
  Load(rr::ReplicaRouter<>& db, std::vector<ClusterNode*> const& nodes) {
    for (auto const* node : nodes) {
      served_.try_emplace(node->name(), 0);
    }
    workers_ = start_workers([this, &db](int) { return read_until_stopped(db); });
  }
  Load(Load const&) = delete;
  Load& operator=(Load const&) = delete;
  ~Load() { is_stopping_.store(true); }

  /// How many reads each node has served since the last call.
  std::map<std::string, long> take_served() {
    std::map<std::string, long> out;
    for (auto& [node, count] : served_) {
      out[node] = count.exchange(0);
    }
    return out;
  }

  Reads stop() {
    is_stopping_.store(true);
    return total_of(std::move(workers_));
  }

 private:
  Reads read_until_stopped(rr::ReplicaRouter<>& db) {
    Reads reads;
    while (!is_stopping_.load() && !is_interrupted.load()) {
      auto const before = Clock::now();
      try {
        ++reads.all;
        ++served_.at(show_feed(db));
      } catch (std::exception const& error) {
        reads += Reads{0, 1, {}, error.what()};
      }
      reads.slowest = std::max(reads.slowest, Clock::now() - before);
      std::this_thread::sleep_for(1ms);
    }
    return reads;
  }

  /// Returns the name of the server that answered, by its own word: a killed server loses its counters.
  static std::string show_feed(rr::ReplicaRouter<>& db) {
    return db.session().read([](pqxx::transaction_base& tx) {
      tx.exec("SELECT id, owner FROM photo ORDER BY id DESC LIMIT 20");
      return tx.query_value<std::string>("SELECT current_setting('cluster_name')");
    });
  }

  std::map<std::string, std::atomic<long>> served_;
  std::atomic<bool> is_stopping_{false};
  std::vector<std::future<Reads>> workers_;  // last: they use all the others until they have ended
};

/// A second of load, told as one line when it is over: each node's share of the reads.
class Seconds {
 public:
  explicit Seconds(Load& load) : load_{load} {}

  /// Returns the share of `node` in percent.
  int tell_next(std::string const& node) {
    pause_until(start_ + std::chrono::seconds{++count_});
    auto const served = load_.take_served();
    long sum = 0;
    for (auto const& [name, reads] : served) {
      sum += reads;
    }
    auto line = fmt::format("  {:>6}", count_);
    for (auto const* name : {"replica-1", "replica-2", "replica-3"}) {
      auto const share = percent(served.at(name), sum);
      line += fmt::format("   {:>3} % {:<10}", share, bar(share));
    }
    say(fmt::format("{}   {:>3} %\n", line, percent(served.at("primary"), sum)));
    return percent(served.at(node), sum);
  }

  int count() const { return count_; }

 private:
  Load& load_;
  Clock::time_point start_ = Clock::now();
  int count_ = 0;
};

void tell_how_a_replica_dies(Cluster& cluster, Script const& script, Claims& claims) {
  headline("3. What if a replica dies?");
  say(fmt::format("{} web workers read all the time. This is each server's share of the reads,\nsecond by second:\n",
                  worker_count));
  auto options = options_for(cluster);
  options.max_backoff = 1s;  // both shorter than the defaults, so that the story is
  options.warm_up = script.warm_up;
  rr::ReplicaRouter db{options};
  wait_for_all_replicas(db);

  auto& victim = cluster.replica(0);
  Load load{db, nodes_of(cluster)};
  Seconds seconds{load};
  auto const tell_seconds = [&](int count) {
    int share = 0;
    for (int i = 0; i < count; ++i) {
      share = seconds.tell_next(victim.name());
    }
    return share;
  };
  say(fmt::format("  second     {:<16}   {:<16}   {:<14} primary\n", "replica-1", "replica-2", "replica-3"));
  tell_seconds(script.seconds_before_kill);
  victim.kill();
  say(fmt::format("          {}\n", styled(Style::red, "^ killed (kill -9)")));
  auto const share_while_dead = tell_seconds(script.seconds_dead);
  victim.start();
  say(fmt::format("          {}\n", styled(Style::green, "^ started again: it gets its share back little by little")));
  int share_at_last = 0;
  constexpr int nearly_a_third = 30;
  for (int patience = 15; share_at_last < nearly_a_third && patience > 0; --patience) {
    share_at_last = tell_seconds(1);
  }
  auto const reads = load.stop();

  auto const slowest = rr::readable(reads.slowest);
  claims.check(reads.failed == 0, fmt::format("none of {} reads failed; the slowest took {}", reads.all, slowest));
  if (reads.failed > 0) {
    say(fmt::format("       {} failed; the first: {}\n", reads.failed, reads.first_failure));
  }
  claims.check(share_while_dead == 0, "while it was dead, the others did its work");
  claims.check(share_at_last >= nearly_a_third, "once it was back, it took its share again");
}

// The frame of the story.

void make_photo_table(Cluster& cluster) {
  cluster.primary().execute("CREATE TABLE photo (id bigserial PRIMARY KEY, owner int NOT NULL)");
  cluster.wait_until_caught_up();
  cluster.replica(2).delay_replay(slowness);
}

/// Returns how many claims did not hold.
int tell(Script const& script) {
  auto const start = Clock::now();
  headline("A photo service: one PostgreSQL primary, three replicas, one router");
  say("The primary takes all changes. A replica is a copy of it that follows a moment\n"
      "later and answers questions. The router decides who is asked.\n"
      "Starting four servers on this machine, for a minute at most ... ");
  std::optional<Cluster> cluster{std::in_place, rr::testing::ClusterOptions{.replicas = 3}};
  auto const directory = cluster->directory();
  stop_if_interrupted();
  make_photo_table(*cluster);
  say(fmt::format("they run.\nOne of them, replica-3, is made {} ms late on purpose.\n", slowness.count()));

  Claims claims;
  tell_who_does_the_work(*cluster, script, claims);
  tell_who_misses_their_photo(*cluster, script, claims);
  tell_how_a_replica_dies(*cluster, script, claims);

  headline("The end");
  cluster.reset();
  claims.check(!std::filesystem::exists(directory), "the four servers are stopped and their files removed");
  auto const took = std::chrono::duration<double>{Clock::now() - start}.count();
  if (claims.broken() == 0) {
    say(fmt::format("All {} claims held, in {:.0f} seconds. To write your own: examples/quickstart.cpp\n", claims.all(),
                    took));
  } else {
    auto const verdict = fmt::format("{} of {} claims did NOT hold.", claims.broken(), claims.all());
    say(styled(Style::red, verdict) + "\n");
  }
  return claims.broken();
}

constexpr char const* usage =
    "usage: photo_feed [--short]\n"
    "\n"
    "Starts a PostgreSQL primary and three replicas on this machine, shows what the\n"
    "router does with them, and removes them. Needs PostgreSQL's programs; touches no\n"
    "server that runs already. Exits with 1 when something was not as claimed.\n"
    "\n"
    "  --short   a quicker run with less of everything\n";

}  // namespace

int main(int count, char** arguments) {
  Script script;
  for (int i = 1; i < count; ++i) {
    std::string_view const argument{arguments[i]};
    if (argument == "--short") {
      script = short_script;
    } else {
      bool const is_asked_for = argument == "--help" || argument == "-h";
      fmt::print(is_asked_for ? stdout : stderr, "{}", usage);
      return is_asked_for ? 0 : 2;
    }
  }
  catch_interruptions();
  try {
    return tell(script) == 0 ? 0 : 1;
  } catch (Interrupted const&) {
    say("\nInterrupted: the servers are stopped and their files removed.\n");
    return 130;
  } catch (std::exception const& error) {
    fmt::print(stderr, "\nphoto_feed: {}\n", error.what());
    return 1;
  }
}
