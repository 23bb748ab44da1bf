// How are figures told? As tables to read, as JSON for programs, as columns for gnuplot.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace replica_router::benchmarks {

/// One field of a table: what is shown, and its JSON value.
struct Cell {
  std::string shown{};
  std::string json = "null";
};

namespace detail {

inline std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (char const c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

/// How many columns of a terminal the text takes; all but the first byte of a UTF-8 character take none.
inline std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace detail

/// Words.
inline Cell words(std::string_view text) { return {std::string{text}, detail::json_text(text)}; }

/// A number with so many digits after the point, and its unit, if it has one.
inline Cell number(double value, int digits = 0, std::string_view unit = {}) {
  return {fmt::format("{:.{}f}{}{}", value, digits, unit.empty() ? "" : " ", unit), fmt::format("{:.6g}", value)};
}

/// Two numbers and what lies between.
inline Cell range(std::pair<double, double> ends, int digits) {
  return {fmt::format("{:.{}f} to {:.{}f}", ends.first, digits, ends.second, digits),
          fmt::format("[{:.6g}, {:.6g}]", ends.first, ends.second)};
}

/// What was aimed at, and whether it is met.
inline Cell goal(std::string_view wanted, bool is_met) {
  return {fmt::format("{}: {}", wanted, is_met ? "met" : "MISSED"),
          fmt::format("{{\"wanted\": {}, \"met\": {}}}", detail::json_text(wanted), is_met)};
}

/// A row without an aim of its own.
inline Cell no_goal() { return {}; }

/// Rows under named columns; the first column is set left, the others right.
class Table {
 public:
  Table(std::string title, std::vector<std::string> columns) : title_{std::move(title)}, columns_{std::move(columns)} {}

  /// Appends a row. Throws: std::logic_error when it has not one cell a column.
  void add(std::vector<Cell> row) {
    if (row.size() != columns_.size()) {
      throw std::logic_error{"table \"" + title_ + "\": a row with " + std::to_string(row.size()) + " cells"};
    }
    rows_.push_back(std::move(row));
  }

  std::string text() const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      auto width = detail::width_of(columns_[i]);
      for (auto const& row : rows_) {
        width = std::max(width, detail::width_of(row[i].shown));
      }
      widths.push_back(width);
    }
    auto const line = [&](auto const& shown) {
      std::string out = "  ";
      for (std::size_t i = 0; i < columns_.size(); ++i) {
        std::string const space(widths[i] - detail::width_of(shown(i)), ' ');
        out += i == 0 ? shown(i) + space : "  " + space + shown(i);
      }
      return out + "\n";
    };
    auto out = title_ + "\n" + line([&](std::size_t i) { return columns_[i]; });
    for (auto const& row : rows_) {
      out += line([&](std::size_t i) { return row[i].shown; });
    }
    return out;
  }

  std::string json() const {
    std::string out = fmt::format("{{\"title\": {}, \"rows\": [", detail::json_text(title_));
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      out += r == 0 ? "\n      {" : ",\n      {";
      for (std::size_t i = 0; i < columns_.size(); ++i) {
        out += fmt::format("{}{}: {}", i == 0 ? "" : ", ", detail::json_text(columns_[i]), rows_[r][i].json);
      }
      out += "}";
    }
    return out + "]}";
  }

 private:
  std::string title_;
  std::vector<std::string> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// What one benchmark has found, and where its files go.
class Report {
 public:
  Report(std::string name, std::filesystem::path directory)
      : name_{std::move(name)}, directory_{std::move(directory)} {}

  /// A table, in the order of the calls. Lifetime: the reference lives as long as the report.
  Table& table(std::string title, std::vector<std::string> columns) {
    return tables_.emplace_back(std::move(title), std::move(columns));
  }

  /// A sentence for the reader, put below the tables.
  void note(std::string text) { notes_.push_back(std::move(text)); }

  /// A file of columns for gnuplot, with a comment line that names them.
  std::ofstream data(std::string_view suffix, std::string_view columns) const {
    std::ofstream out{directory_ / (name_ + std::string{suffix} + ".dat")};
    out << "# " << columns << "\n";
    return out;
  }

  /// Prints the tables and writes NAME.json.
  void finish() const {
    std::string json = fmt::format("{{\"benchmark\": {}, \"tables\": [", detail::json_text(name_));
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      fmt::print("{}\n", tables_[i].text());
      json += (i == 0 ? "\n    " : ",\n    ") + tables_[i].json();
    }
    json += "],\n    \"notes\": [";
    for (std::size_t i = 0; i < notes_.size(); ++i) {
      fmt::print("{}\n", notes_[i]);
      json += (i == 0 ? "" : ", ") + detail::json_text(notes_[i]);
    }
    auto const file = directory_ / (name_ + ".json");
    std::ofstream out{file};
    out << json << "]}\n";
    out.close();
    if (!out) {
      throw std::runtime_error{"cannot write " + file.string()};
    }
  }

 private:
  std::string name_;
  std::filesystem::path directory_;
  std::deque<Table> tables_;
  std::vector<std::string> notes_;
};

/// The body of a benchmark's `main`: `measure(report)`, the report's output, and the exit status.
/// A goal that is missed is a result; 1 means that something could not be measured.
template <class Measure>
int run_benchmark(std::string const& name, int argc, char** argv, Measure measure) {
  try {
    if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
      throw std::runtime_error{"expects one argument: the directory for its files"};
    }
    Report report{name, argv[1]};
    measure(report);
    report.finish();
    return 0;
  } catch (std::exception const& error) {
    std::fflush(stdout);
    fmt::print(stderr, "benchmark {}: {}\n", name, error.what());
    return 1;
  }
}

}  // namespace replica_router::benchmarks
