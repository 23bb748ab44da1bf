#include "replica_router/view_list.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>

namespace rr = replica_router;

namespace {

rr::ReplicaView view(std::size_t id) {
  rr::ReplicaView out;
  out.id = id;
  out.weight = static_cast<std::uint32_t>(id * 3 + 1);
  return out;
}

bool holds_all_below(rr::ViewList const& list, std::size_t count) {
  auto const all = list.all();
  if (all.size() != count || list.empty() != (count == 0)) {
    return false;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (all[i].id != i || all[i].weight != i * 3 + 1) {
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("a list holds what was put in, in order, whether or not it fits inside") {
  rr::ViewList list;
  CHECK(holds_all_below(list, 0));
  for (std::size_t i = 0; i < 100; ++i) {
    list.emplace_back(view(i));
    REQUIRE(holds_all_below(list, i + 1));
  }
}

TEST_CASE("a cleared list begins anew, from any size") {
  rr::ViewList list;
  for (std::size_t const size : {0U, 1U, 15U, 16U, 17U, 40U, 16U, 3U, 0U}) {
    for (std::size_t i = 0; i < size; ++i) {
      list.emplace_back(view(i));
    }
    CHECK(holds_all_below(list, size));
    list.clear();
    CHECK(holds_all_below(list, 0));
  }
}

TEST_CASE("what room was made for moves nothing, and nothing that is there is lost") {
  rr::ViewList list;
  for (std::size_t i = 0; i < 10; ++i) {
    list.emplace_back(view(i));
  }
  list.reserve(16);  // there already
  auto const* const inside = list.all().data();
  list.reserve(50);
  CHECK(list.all().data() != inside);
  CHECK(holds_all_below(list, 10));
  auto const* const first = list.all().data();
  for (std::size_t i = 10; i < 50; ++i) {
    list.emplace_back(view(i));
  }
  CHECK(list.all().data() == first);
  CHECK(holds_all_below(list, 50));
  list.emplace_back(view(50));
  CHECK(holds_all_below(list, 51));
}

TEST_CASE("up to sixteen views lie inside the list itself") {
  rr::ViewList list;
  auto const* const begin = reinterpret_cast<std::byte const*>(&list);
  auto const is_inside = [&] {
    auto const* const first = reinterpret_cast<std::byte const*>(list.all().data());
    return first >= begin && first < begin + sizeof list;
  };
  for (std::size_t i = 0; i < 16; ++i) {
    list.emplace_back(view(i));
    REQUIRE(is_inside());
  }
  list.emplace_back(view(16));
  CHECK_FALSE(is_inside());
}
