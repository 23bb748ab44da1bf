// How much longer does a file compile that includes the umbrella rather than <pqxx/pqxx>? Asked of g++ and of clang++.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "report.hpp"
#include "rounds.hpp"
#include "support/child_process.hpp"

namespace {

using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr int rounds = 15;

/// Seconds of the processor that the compiler takes for a file; so other programs count for nothing.
/// Throws: std::runtime_error when it does not compile.
double seconds_to_compile(std::string const& compiler, std::filesystem::path const& file,
                          std::filesystem::path const& directory) {
  std::vector<std::string> arguments{"/usr/bin/env", compiler, "-std=c++20"};
  // CMakeLists.txt gives the folders separated by colons.
  std::istringstream folders{REPLICA_ROUTER_INCLUDE_FOLDERS};
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (!folder.empty()) {
      arguments.push_back("-I" + folder);
    }
  }
  arguments.insert(arguments.end(), {"-c", "-o", "/dev/null", file.string()});
  auto const child = testing::start({arguments, directory}, {::geteuid(), ::getegid()});
  int status = 0;
  rusage used{};
  if (::wait4(child, &status, 0, &used) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error{compiler + " does not compile " + file.string()};
  }
  auto const seconds = [](timeval const& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("compile", argc, argv, [&](Report& report) {
    auto const directory = std::filesystem::absolute(argv[1]);
    auto const write = [&](std::string const& name, std::string_view text) {
      auto const file = directory / name;
      std::ofstream{file} << text;
      return file;
    };
    auto const pqxx = write("includes_pqxx.cpp", "#include <pqxx/pqxx>\n");
    auto const umbrella = write("includes_umbrella.cpp", "#include <replica_router/replica_router.hpp>\n");
    auto& table = report.table("Processor time to compile a file that includes nothing else, without optimisation",
                               {"compiler", "<pqxx/pqxx>", "the umbrella", "ratio", "goal"});
    char const* const chosen = std::getenv("CXX");  // where the distribution's g++ is too old, another is chosen
    for (std::string const compiler : {chosen == nullptr ? "g++" : chosen, "clang++"}) {
      auto const side = [&](std::filesystem::path const& file) {
        return Side{file.filename(), [&, file] { return seconds_to_compile(compiler, file, directory); }};
      };
      Rounds const figures{{side(pqxx), side(umbrella)}, rounds};
      auto const ratio = figures.ratio(1, 0);
      table.add({words(compiler), number(figures.median(0), 2, "s"), number(figures.median(1), 2, "s"),
                 number(ratio, 2), goal("≤ 1.4", ratio <= 1.4)});
    }
  });
}
