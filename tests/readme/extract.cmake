# readme_snippets(<file> <folder> <prefix>): makes sources of the C++ snippets in a Markdown file.
#
# A comment on the line before each ```cpp says what it is:
#
#     <!-- cpp: program -->           a whole program
#     <!-- cpp: top level -->         declarations
#     <!-- cpp: given int n -->       statements that use these parameters; compiled
#     <!-- cpp: given nothing -->     statements that need nothing; compiled
#     <!-- cpp: on db -->             statements that use a router `db`; compiled, and run on a cluster
#
# Leaves in <prefix>_SOURCE a source of all but the programs, and in <prefix>_PROGRAMS a source for each program. Messages
# of the compiler name the line in the Markdown file. CMake runs again, and so does this, when the file changes.
function(readme_snippets file folder prefix)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  file(READ "${file}" rest)
  set(fence "```")
  set(statements "")
  set(on_db "")
  set(programs "")
  set(line 1)
  set(count 0)

  string(REGEX MATCHALL "${fence}+ *[cC](pp|[+][+]|xx)" fences "${rest}")
  list(LENGTH fences expected)
  if(expected EQUAL 0)
    message(FATAL_ERROR "${file} has no C++ snippets: nothing would be compiled")
  endif()

  string(FIND "${rest}" "\n${fence}cpp\n" at)
  while(NOT at EQUAL -1)
    string(SUBSTRING "${rest}" 0 ${at} before)
    math(EXPR after "${at} + 8") # behind "\n```cpp\n"
    string(SUBSTRING "${rest}" ${after} -1 rest)
    string(FIND "${rest}" "\n${fence}" end)
    if(end EQUAL -1)
      message(FATAL_ERROR "${file}: a snippet does not end")
    endif()
    string(SUBSTRING "${rest}" 0 ${end} snippet)
    string(SUBSTRING "${rest}" ${end} -1 rest)
    string(REGEX MATCHALL "\n" passed "${before}")
    list(LENGTH passed passed)
    math(EXPR line "${line} + ${passed} + 2") # the snippet's first line
    set(snippet "#line ${line} \"${file}\"\n${snippet}\n")

    set(name "snippet_at_line_${line}")
    string(FIND "${before}" "\n" last_line REVERSE)
    string(SUBSTRING "${before}" ${last_line} -1 marker)
    if(NOT marker MATCHES "^\n<!-- cpp: (.+) -->$")
      message(FATAL_ERROR "${file}:${line}: the line before the snippet must say what it is, such as <!-- cpp: on db -->")
    endif()
    set(kind "${CMAKE_MATCH_1}")
    if(kind STREQUAL "program")
      list(LENGTH programs number)
      math(EXPR number "${number} + 1")
      file(CONFIGURE OUTPUT "${folder}/program_${number}.cpp" CONTENT "@snippet@" @ONLY)
      list(APPEND programs "${folder}/program_${number}.cpp")
    elseif(kind STREQUAL "top level")
      string(APPEND statements "${snippet}\n")
    elseif(kind STREQUAL "on db")
      string(APPEND statements "void ${name}(rr::ReplicaRouter<>& db) {\n${snippet}}\n\n")
      string(APPEND on_db "    {${line}, ${name}},\n")
    elseif(kind MATCHES "^given (.+)$")
      string(REGEX REPLACE "^nothing$" "" parameters "${CMAKE_MATCH_1}")
      string(APPEND statements "void ${name}(${parameters}) {\n${snippet}}\n\n")
    else()
      message(FATAL_ERROR "${file}:${line}: \"${kind}\" is no kind of snippet")
    endif()

    string(REGEX MATCHALL "\n" passed "${snippet}")
    list(LENGTH passed passed)
    math(EXPR line "${line} + ${passed} - 2") # the end of the snippet's last line, where `rest` begins
    math(EXPR count "${count} + 1")
    string(FIND "${rest}" "\n${fence}cpp\n" at)
  endwhile()
  if(NOT count EQUAL expected)
    message(FATAL_ERROR "${file}: ${expected} C++ snippets, but ${count} begin with ${fence}cpp at a line's start")
  endif()

  set(source "#include \"snippets.hpp\"\n\nnamespace readme {\n\n${statements}\
std::vector<SnippetOnDb> const snippets_on_db{\n${on_db}};\n\n}  // namespace readme\n")
  file(CONFIGURE OUTPUT "${folder}/snippets.cpp" CONTENT "@source@" @ONLY)
  set(${prefix}_SOURCE "${folder}/snippets.cpp" PARENT_SCOPE)
  set(${prefix}_PROGRAMS "${programs}" PARENT_SCOPE)
endfunction()
