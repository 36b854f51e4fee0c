# Three helpers: a folder's library, a program, and a folder's tests. Source lists are explicit everywhere.

add_library(shoal_options INTERFACE)
target_compile_features(shoal_options INTERFACE cxx_std_20)
target_include_directories(shoal_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
target_compile_options(shoal_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> -ffp-contract=off $<$<BOOL:${SHOAL_WERROR}>:-Werror>)
if(SHOAL_SANITIZE)
  target_compile_options(shoal_options INTERFACE -fsanitize=${SHOAL_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(shoal_options INTERFACE -fsanitize=${SHOAL_SANITIZE})
endif()

# shoal_library(base SOURCES check.cpp ... LINKS ...): target shoal_base from the folder's own sources.
function(shoal_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(shoal_${name} STATIC ${ARG_SOURCES})
  set_target_properties(shoal_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(shoal_${name} PUBLIC shoal_options ${ARG_LINKS} PRIVATE ${ARG_PRIVATE_LINKS})
endfunction()

# shoal_program(shoal-client SOURCES main.cpp LINKS ...): lands in bin/ of the build folder.
function(shoal_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  target_link_libraries(${name} PRIVATE shoal_options ${ARG_LINKS})
  install(TARGETS ${name} RUNTIME)
endfunction()

# shoal_tests(base SOURCES result_test.cpp ... LINKS shoal_base [LABEL slow] [TIMEOUT seconds]): one test program test_base.
# Every program is one ctest entry; ./dev test adds up the cases that each one reports.
function(shoal_tests name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LINKS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(SHOAL_SANITIZE)  # takes its time
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  add_executable(test_${name} ${ARG_SOURCES})
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_link_libraries(test_${name} PRIVATE shoal_options ${ARG_LINKS} GTest::gtest_main GTest::gmock)
  target_compile_definitions(test_${name} PRIVATE
    SHOAL_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SHOAL_BINARY_DIR="${PROJECT_BINARY_DIR}")
  if(SHOAL_SANITIZE)  # where a limit of memory cannot be tested
    target_compile_definitions(test_${name} PRIVATE SHOAL_SANITIZED)
  endif()
  add_test(NAME ${name} COMMAND test_${name} --gtest_output=json:${PROJECT_BINARY_DIR}/reports/${name}.json
           WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABEL}")
endfunction()
