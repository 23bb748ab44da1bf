// What does the router cost a read? One prepared point select, beside what people write by hand.
#include <libpq-fe.h>

#include <array>
#include <chrono>
#include <memory>
#include <pqxx/pqxx>
#include <random>
#include <stdexcept>
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

constexpr auto span = 30ms;
constexpr auto pause = 10ms;
constexpr int rounds = 9;  // of every turn, on connections of its own

using RawConnection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

/// The limit: what libpq itself takes, with the value read as text.
void read_with_libpq(PGconn* connection, int id) {
  auto const key = std::to_string(id);
  std::array<char const*, 1> const values{key.c_str()};
  std::unique_ptr<PGresult, decltype(&PQclear)> const result{
      PQexecPrepared(connection, statement_name, 1, values.data(), nullptr, nullptr, 0), PQclear};
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK || PQntuples(result.get()) != 1) {
    throw std::runtime_error{std::string{"libpq: "} + PQerrorMessage(connection)};
  }
}

/// Whether a table is the one that goals are judged by.
enum class Goals { judged, not_judged };

/// One table, for one way of placing client and servers on the machine's cores.
void measure(Report& report, std::string const& placement, Goals goals, int turns) {
  testing::Cluster cluster{{.replicas = 2}};
  make_test_table(cluster);
  auto const conninfo = cluster.replica(0).conninfo();

  Keys keys;
  std::minstd_rand coin{7};
  auto const way = [](auto operation) { return Side{{}, [operation] { return time_of(operation, span); }}; };
  enum : std::size_t { libpq, libpqxx, either, by_hand, lease_one, function_one, lease_two, function_two };
  Rounds figures;
  for (int turn = 0; turn < turns; ++turn) {
    RawConnection const raw{PQconnectdb(conninfo.c_str()), PQfinish};
    PQclear(PQprepare(raw.get(), statement_name, statement, 0, nullptr));
    pqxx::connection held{conninfo};
    pqxx::connection other{cluster.replica(1).conninfo()};
    held.prepare(statement_name, statement);
    other.prepare(statement_name, statement);
    auto const one = make_router(cluster, StickyAfterWrite<LeastLag>{}, 1);
    auto const two = make_router(cluster, StickyAfterWrite<LeastLag>{}, 2);
    figures.add({{
                     way([&] { read_with_libpq(raw.get(), keys.next()); }),
                     way([&] {
                       pqxx::nontransaction tx{held};
                       read_point(tx, keys.next());
                     }),
                     way([&] {
                       pqxx::nontransaction tx{coin() % 64 < 32 ? held : other};
                       read_point(tx, keys.next());
                     }),
                     way([&] {
                       pqxx::read_transaction tx{held};
                       read_point(tx, keys.next());
                       tx.commit();
                     }),
                     way([&] { read_point(*one->read(), keys.next()); }),
                     way([&] { one->read([&](auto& tx) { read_point(tx, keys.next()); }); }),
                     way([&] { read_point(*two->read(), keys.next()); }),
                     way([&] { two->read([&](auto& tx) { read_point(tx, keys.next()); }); }),
                 },
                 rounds,
                 pause});
  }

  // Apart from the others: what is left of a session when it has been closed would be charged to the next side.
  Rounds const apart{{
                         way([&] {
                           pqxx::connection fresh{conninfo};
                           pqxx::nontransaction tx{fresh};
                           tx.exec(statement, pqxx::params{keys.next()}).one_row();
                         }),
                     },
                     9,
                     pause};

  auto& table = report.table(
      "One prepared point select by primary key, one thread, " + placement,
      {"way", "time", "throughput against held libpqxx", "middle half", "against read_transaction", "goal"});
  auto const row = [&](std::size_t side, std::string const& name, std::size_t reference, Cell aim) {
    table.add({words(name), number(figures.median(side) / 1000, 1, "us"), number(figures.ratio(reference, side), 3),
               range(figures.middle_half(reference, side), 2), number(figures.ratio(by_hand, side), 2),
               std::move(aim)});
  };
  auto const both = [&](std::size_t side) {
    return goals == Goals::not_judged
               ? no_goal()
               : goal("≥ 0.97 and ≥ 2.5", figures.ratio(libpqxx, side) >= 0.97 && figures.ratio(by_hand, side) >= 2.5);
  };
  auto const first = [&](std::size_t side) {
    return goals == Goals::not_judged ? no_goal() : goal("≥ 0.97", figures.ratio(either, side) >= 0.97);
  };
  row(libpq, "libpq, PQexecPrepared, a held connection", libpqxx, no_goal());
  row(libpqxx, "libpqxx, nontransaction, a held connection", libpqxx, no_goal());
  row(by_hand, "libpqxx, read_transaction, a held connection", libpqxx, no_goal());
  table.add({words("libpqxx, a connection a request, unprepared"), number(apart.median(0) / 1000, 1, "us"),
             number(figures.median(libpqxx) / apart.median(0), 3), words(""),
             number(figures.median(by_hand) / apart.median(0), 2), no_goal()});
  row(lease_one, "db.read(), one replica", libpqxx, both(lease_one));
  row(function_one, "db.read(fn), one replica", libpqxx, both(function_one));
  row(either, "libpqxx, two held connections at random", either, no_goal());
  row(lease_two, "db.read(), two replicas", either, first(lease_two));
  row(function_two, "db.read(fn), two replicas", either, first(function_two));
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("read", argc, argv, [](Report& report) {
    measure(report, "client and servers where the system puts them", Goals::not_judged, 5);
    stay_on_one_core();
    measure(report, "client and servers on one core", Goals::judged, 9);
    report.note(
        "Goals are judged on one core: nothing wakes up and nothing overlaps there, so a round trip is shortest, "
        "all that the client does is seen in it, and the figures repeat. Where the system places the processes, "
        "whether a round trip has to wake a core decides more than anything else. \"Middle half\": between which "
        "ratios half of the rounds lie. libpq alone is the limit. The rows with one replica are compared with a "
        "held connection to it, those with two with two held connections, one to each, drawn at random for every "
        "read: on one machine the two servers evict each other from the caches, whoever asks them.");
  });
}
