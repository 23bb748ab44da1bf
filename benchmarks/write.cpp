// What does the router cost a write? One row updated, with the commit's position and without, fsync on and off.
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <pqxx/pqxx>
#include <string>
#include <utility>

#include "cores.hpp"
#include "report.hpp"
#include "rounds.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr auto span = 80ms;
constexpr auto pause = 30ms;
constexpr int rounds = 8;  // of every turn, on connections of its own

void touch(pqxx::transaction_base& tx, int id) { tx.exec(pqxx::prepped{"touch"}, pqxx::params{id}).no_rows(); }

constexpr char const* update = "UPDATE item SET touched = touched + 1 WHERE id = $1::int";

/// Where a file that is synced reaches a disk, unlike the place that clusters are made in otherwise, which is memory.
void place_clusters_on_disk() { setenv("TMPDIR", "/var/tmp", 1); }

void measure(Report& report, std::string const& fsync, int turns) {
  testing::Cluster cluster{{.replicas = 1, .settings = {"fsync = " + fsync}}};
  make_test_table(cluster);
  Keys keys;
  auto const way = [](std::string name, auto operation) {
    return Side{std::move(name), [operation] { return time_of(operation, span); }};
  };
  enum : std::size_t { work, work_and_query, token, token_read, no_token };
  Rounds figures;
  for (int turn = 0; turn < turns; ++turn) {
    pqxx::connection held{cluster.primary().conninfo()};
    held.prepare("touch", update);
    auto const with_token = make_router(cluster, StickyAfterWrite<LeastLag>{});
    auto const with_reader = make_router(cluster, StickyAfterWrite<LeastLag>{});
    auto const without_token = make_router(cluster, RoundRobin{});
    with_token->prepare("touch", update);
    with_reader->prepare("touch", update);
    without_token->prepare("touch", update);
    figures.add({{
                     way("pqxx::work",
                         [&] {
                           pqxx::work tx{held};
                           touch(tx, keys.next());
                           tx.commit();
                         }),
                     way("pqxx::work and query",
                         [&] {
                           {
                             pqxx::work tx{held};
                             touch(tx, keys.next());
                             tx.commit();
                           }
                           pqxx::nontransaction tx{held};
                           tx.exec("SELECT pg_current_wal_insert_lsn()").one_row();
                         }),
                     way("token", [&] { with_token->write([&](auto& tx) { touch(tx, keys.next()); }); }),
                     {"token, read",
                      [&] {
                        // One read of what was written, and for two seconds replicas are asked for proofs at full pace.
                        with_reader->write([&](auto& tx) { touch(tx, keys.next()); });
                        with_reader->read([&](auto& tx) { read_point(tx, keys.next()); });
                        return time_of([&] { with_reader->write([&](auto& tx) { touch(tx, keys.next()); }); }, span);
                      }},
                     way("no token", [&] { without_token->write([&](auto& tx) { touch(tx, keys.next()); }); }),
                 },
                 rounds,
                 pause});
  }

  auto& table = report.table("One row updated by primary key (prepared), one thread, fsync " + fsync +
                                 ". Time of one write, and against pqxx::work by hand",
                             {"way", "time", "of pqxx::work's time", "middle half", "goal"});
  auto const row = [&](std::size_t side, std::string const& name, Cell aim) {
    table.add({words(name), number(figures.median(side) / 1000, 1, "us"), number(figures.ratio(side, work), 3),
               range(figures.middle_half(side, work), 2), std::move(aim)});
  };
  row(work, "pqxx::work on a held connection", no_goal());
  row(work_and_query, "the same, then a query for the LSN", no_goal());
  row(token, "db.write(fn), brings its token home", goal("≤ 1.10", figures.ratio(token, work) <= 1.10));
  row(token_read, "the same, while such writes are read", goal("≤ 1.10", figures.ratio(token_read, work) <= 1.10));
  row(no_token, "db.write(fn), a policy that needs none", goal("≤ 1.02", figures.ratio(no_token, work) <= 1.02));
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("write", argc, argv, [](Report& report) {
    stay_on_one_core();
    measure(report, "off", 6);
    place_clusters_on_disk();
    measure(report, "on", 8);
    report.note(
        "Client and servers share one core, one replica follows. After a write that has its token the router asks the "
        "replica soon whether it has replayed it: that is in the time, too. While sessions read what they have written "
        "it asks up to every 20 ms; in a process that only writes, less and less often.");
  });
}
