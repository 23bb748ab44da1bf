#include "chaos/ledger.hpp"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <string>
#include <vector>

using namespace replica_router::chaos;

namespace {

std::vector<Trouble> const killed{{"killed", 100, 200, 250, Settling::possible}};

Operation write(std::uint64_t id, Outcome outcome, std::int64_t began = 110, std::int64_t ended = 120) {
  return {.kind = OperationKind::write, .outcome = outcome, .session = 1, .began = began, .ended = ended, .id = id};
}

Operation exactly_once(Operation operation) {
  operation.is_exactly_once = true;
  return operation;
}

Operation read(Outcome outcome, std::int64_t began = 110, std::int64_t ended = 120) {
  return {.kind = OperationKind::read, .outcome = outcome, .session = 1, .began = began, .ended = ended};
}

Operation own_read(std::uint64_t id, std::uint32_t seen) {
  auto out = read(Outcome::done);
  out.id = id;
  out.versions = {seen};
  return out;
}

std::vector<std::string> violations(std::vector<Operation> const& operations,
                                    std::map<std::uint64_t, int> const& present,
                                    std::vector<Trouble> const& troubles = killed) {
  return reckon(operations, present, troubles).violations;
}

}  // namespace

TEST_CASE("the ledger: what was promised and kept is no violation") {
  CHECK(violations({write(1, Outcome::done), write(2, Outcome::failed), write(3, Outcome::in_doubt),
                    write(4, Outcome::in_doubt), own_read(1, 1), read(Outcome::done)},
                   {{1, 1}, {3, 1}})
            .empty());
}

TEST_CASE("the ledger: a lost, a doubled and an undead write are violations") {
  CHECK(violations({write(1, Outcome::done)}, {}) ==
        std::vector<std::string>{"killed: the acknowledged write 1 is lost"});
  CHECK(violations({write(1, Outcome::done)}, {{1, 2}}) ==
        std::vector<std::string>{"killed: write 1 is in the table 2 times"});
  CHECK(violations({write(1, Outcome::in_doubt)}, {{1, 2}}).size() == 1);
  CHECK(violations({write(1, Outcome::failed)}, {{1, 1}}) ==
        std::vector<std::string>{"killed: write 1 was reported as not done and is in the table"});
  CHECK(reckon(std::vector{write(1, Outcome::done)}, {}, killed).lines.at("killed").writes_lost == 1);
}

TEST_CASE("the ledger: exactly_once leaves no doubt where the server can still be asked") {
  CHECK(violations({exactly_once(write(1, Outcome::in_doubt))}, {}).size() == 1);
  std::vector<Trouble> const promoted{{"promoted", 100, 200, 250, Settling::impossible}};
  CHECK(violations({exactly_once(write(1, Outcome::in_doubt))}, {}, promoted).empty());
  CHECK(violations({exactly_once(write(1, Outcome::in_doubt, 300, 310))}, {}, promoted).size() == 1);
}

TEST_CASE("the ledger: a failed read and a missed own write are violations, a failed own read is counted") {
  CHECK(violations({read(Outcome::failed)}, {}) == std::vector<std::string>{"killed: a read failed"});
  CHECK(violations({own_read(1, 0)}, {{1, 1}}) == std::vector<std::string>{"killed: a session missed its own write 1"});
  auto failed = own_read(1, 0);
  failed.outcome = Outcome::failed;
  auto const ledger = reckon(std::vector{failed}, {}, killed);
  CHECK(ledger.violations.empty());
  CHECK(ledger.lines.at("killed").own_reads_failed == 1);
}

TEST_CASE("the ledger: an operation belongs to the trouble that it overlaps") {
  auto const lines = reckon(std::vector{read(Outcome::done, 10, 20), read(Outcome::done, 90, 100),
                                        read(Outcome::done, 240, 400), read(Outcome::done, 251, 260)},
                            {}, killed)
                         .lines;
  CHECK(lines.at("killed").reads == 2);
  CHECK(lines.at("killed").longest_read == 160);
  CHECK(lines.at(std::string{no_trouble}).reads == 2);
  CHECK(lines.at("killed").times == 1);
  CHECK(lines.at("killed").until_normal == std::vector<std::int64_t>{50});
}

TEST_CASE("the ledger: the longest time without an acknowledgement, from the trouble's beginning on") {
  auto const pause = [](std::vector<Operation> const& operations) {
    return reckon(operations, {{1, 1}, {2, 1}}, killed).lines.at("killed").longest_write_pause;
  };
  CHECK(pause({write(1, Outcome::done, 110, 130), write(2, Outcome::done, 150, 230)}) == 100);
  CHECK(pause({write(1, Outcome::done, 110, 130), write(2, Outcome::done, 150, 400)}) == 270);
  CHECK(pause({}) == 150);
}
