// Is the router ahead of the proxies? The same read through Pgpool-II, PgBouncer and HAProxy, on the same replicas.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "report.hpp"
#include "rival.hpp"
#include "rounds.hpp"
#include "support/reserved_port.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;
using testing::ReservedPort;

constexpr int most_threads = 16;
constexpr auto span = 150ms;
constexpr int rounds = 9;

/// Where the proxies' files lie, and how one connects to them: as to a node, at another port.
struct Site {
  testing::Cluster& cluster;
  std::filesystem::path directory = cluster.directory();

  std::string file(std::string const& name, std::string const& text) const {
    auto const path = directory / name;
    std::ofstream{path} << text;
    return path.string();
  }
  std::string at(ReservedPort const& port) const {
    auto const node = std::to_string(cluster.primary().port());
    auto conninfo = cluster.primary().conninfo();
    return conninfo.replace(conninfo.find("port=" + node) + 5, node.size(), std::to_string(port.number()));
  }
  std::string user() const { return cluster.primary().query("SELECT current_user"); }
};

std::unique_ptr<Rival> pgpool(Site const& site, ReservedPort const& port, ReservedPort const& control) {
  auto const directory = site.directory.string();
  auto text = fmt::format(
      "backend_clustering_mode = 'streaming_replication'\n"
      "listen_addresses = '127.0.0.1'\nport = {}\npcp_listen_addresses = '127.0.0.1'\npcp_port = {}\n"
      "unix_socket_directories = '{}'\npcp_socket_dir = '{}'\npid_file_name = '{}/pgpool.pid'\nlogdir = '{}'\n"
      "num_init_children = {}\nmax_pool = 1\nload_balance_mode = on\n"
      "sr_check_period = 10\nsr_check_user = '{}'\nsr_check_database = 'postgres'\n",
      port.number(), control.number(), directory, directory, directory, directory, 2 * most_threads, site.user());
  // The primary takes no reads, as with the router.
  auto const backend = [&](int number, testing::ClusterNode const& node, int weight) {
    text += fmt::format(
        "backend_hostname{0} = '127.0.0.1'\nbackend_port{0} = {1}\nbackend_weight{0} = {2}\n"
        "backend_data_directory{0} = '{3}'\nbackend_flag{0} = 'DISALLOW_TO_FAILOVER'\n",
        number, node.port(), weight, directory);
  };
  backend(0, site.cluster.primary(), 0);
  backend(1, site.cluster.replica(0), 1);
  backend(2, site.cluster.replica(1), 1);
  auto const empty = site.file("pool_hba.conf", "");
  return std::make_unique<Rival>(
      "pgpool",
      std::vector<std::string>{"/usr/sbin/pgpool", "-n", "-f", site.file("pgpool.conf", text), "-F",
                               site.file("pcp.conf", ""), "-a", empty},
      "INT", site.directory, site.at(port));
}

std::unique_ptr<Rival> pgbouncer(Site const& site, ReservedPort const& port) {
  auto const file = site.file(
      "pgbouncer.ini",
      fmt::format("[databases]\npostgres = host=127.0.0.1 port={} user={}\n"
                  "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n"
                  "pool_mode = transaction\ndefault_pool_size = {}\nmax_client_conn = 200\n"
                  "log_connections = 0\nlog_disconnections = 0\n",
                  site.cluster.replica(0).port(), site.user(), port.number(), most_threads));
  return std::make_unique<Rival>("pgbouncer", std::vector<std::string>{"/usr/sbin/pgbouncer", file}, "TERM",
                                 site.directory, site.at(port));
}

std::unique_ptr<Rival> haproxy(Site const& site, ReservedPort const& port) {
  auto const file =
      site.file("haproxy.cfg",
                fmt::format("global\n  maxconn 400\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1m\n"
                            "  timeout server 1m\nlisten replicas\n  bind 127.0.0.1:{}\n  balance roundrobin\n"
                            "  server replica-1 127.0.0.1:{}\n  server replica-2 127.0.0.1:{}\n",
                            port.number(), site.cluster.replica(0).port(), site.cluster.replica(1).port()));
  return std::make_unique<Rival>("haproxy", std::vector<std::string>{"/usr/sbin/haproxy", "-db", "-f", file}, "TERM",
                                 site.directory, site.at(port));
}

enum class Statements { prepared, unprepared };

/// A held connection for every thread, which has the statement prepared where that is wanted.
class Held {
 public:
  Held(std::string const& conninfo, Statements statements) : statements_{statements} {
    for (int i = 0; i < most_threads; ++i) {
      auto& connection = *connections_.emplace_back(std::make_unique<pqxx::connection>(conninfo));
      if (statements == Statements::prepared) {
        connection.prepare(statement_name, statement);
      }
    }
  }

  void read(int thread, int id) {
    pqxx::nontransaction tx{*connections_[static_cast<std::size_t>(thread)]};
    if (statements_ == Statements::prepared) {
      read_point(tx, id);
    } else {
      tx.exec(statement, pqxx::params{id}).one_row();
    }
  }

 private:
  Statements statements_;
  std::vector<std::unique_ptr<pqxx::connection>> connections_;
};

template <class Read>
Side side_of(int threads, Read read) {
  return {{}, [=] {
            return rate_of(threads, span, [=](int thread) {
              return [=, keys = Keys{thread * 37}]() mutable { read(thread, keys.next()); };
            });
          }};
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("peers", argc, argv, [](Report& report) {
    testing::Cluster cluster{{.replicas = 2}};
    make_test_table(cluster);
    Site const site{cluster};
    ReservedPort const pool_port, pool_control, bouncer_port, proxy_port;
    auto const pool = pgpool(site, pool_port, pool_control);
    auto const bouncer = pgbouncer(site, bouncer_port);
    auto const proxy = haproxy(site, proxy_port);

    auto const db = make_router(cluster, StickyAfterWrite<LeastLag>{});
    auto const one = make_router(cluster, StickyAfterWrite<LeastLag>{}, 1);
    Held direct{cluster.replica(0).conninfo(), Statements::prepared};
    Held through_pool{pool->conninfo(), Statements::prepared};
    Held through_bouncer{bouncer->conninfo(), Statements::unprepared};
    Held through_proxy{proxy->conninfo(), Statements::prepared};

    std::vector<int> const counts{1, 4, most_threads};
    enum : std::size_t { router, one_unprepared, no_proxy, with_pool, with_proxy, with_bouncer, kinds };
    std::vector<Side> sides;
    for (int const threads : counts) {
      sides.push_back(side_of(threads, [&](int, int id) { read_point(*db->read(), id); }));
      sides.push_back(side_of(threads, [&](int, int id) { one->read()->exec(statement, pqxx::params{id}).one_row(); }));
      sides.push_back(side_of(threads, [&](int thread, int id) { direct.read(thread, id); }));
      sides.push_back(side_of(threads, [&](int thread, int id) { through_pool.read(thread, id); }));
      sides.push_back(side_of(threads, [&](int thread, int id) { through_proxy.read(thread, id); }));
      sides.push_back(side_of(threads, [&](int thread, int id) { through_bouncer.read(thread, id); }));
    }
    Rounds const figures{sides, rounds};

    auto& table = report.table(
        "Point selects a second through the router and through proxies, two replicas",
        {"way", "1 thread", "router's lead", "4 threads", "lead at 4", "16 threads", "lead at 16", "goal"});
    auto const row = [&](std::size_t kind, std::string const& name, std::size_t against, bool has_goal) {
      std::vector<Cell> cells{words(name)};
      bool is_ahead = true;
      for (std::size_t i = 0; i < counts.size(); ++i) {
        auto const lead = figures.ratio(kinds * i + against, kinds * i + kind);
        is_ahead = is_ahead && lead > 1;
        cells.push_back(number(figures.median(kinds * i + kind)));
        cells.push_back(number(lead, 2, "x"));
      }
      cells.push_back(has_goal ? goal(is_ahead ? "router ahead" : "router ahead (this rival wins a column)", is_ahead)
                               : no_goal());
      table.add(std::move(cells));
    };
    row(router, "router, prepared", router, false);
    row(with_pool, "Pgpool-II, prepared", router, true);
    row(with_proxy, "HAProxy (TCP), prepared", router, true);
    row(one_unprepared, "router, one replica, unprepared", one_unprepared, false);
    row(with_bouncer, "PgBouncer (transactions), one replica, unprepared", one_unprepared, true);
    row(no_proxy, "no proxy: held libpqxx to one replica, prepared", router, false);
    report.note(fmt::format(
        "All on loopback and {} cores, which proxies and servers share: where they are full, the reads that need the "
        "least work win. Every proxy gives each thread a held connection; the router has its default options, at most "
        "10 connections a "
        "node. Pgpool-II balances by session and its primary "
        "has weight 0. PgBouncer before 1.21 knows no prepared statements in transaction pooling, so its reads are "
        "unprepared, and it has one replica, for the hosts of one database must share a port: it is compared with the "
        "router doing the same. Sending the reads without a proxy to one replica for ever is the limit, not a rival.",
        std::thread::hardware_concurrency()));
  });
}
