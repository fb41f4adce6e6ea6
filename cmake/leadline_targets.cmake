# How this project declares libraries, programs and tests: one warning set, one include root.

add_library(leadline_flags INTERFACE)
target_include_directories(leadline_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(leadline_flags INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
                                                -ffp-contract=off)
if(LEADLINE_DCHECK)
  target_compile_definitions(leadline_flags INTERFACE LEADLINE_ENABLE_DCHECK=1)
endif()
if(LEADLINE_SANITIZE STREQUAL "address")
  target_compile_options(leadline_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                                                  -fno-omit-frame-pointer -g1)
  target_link_options(leadline_flags INTERFACE -fsanitize=address,undefined)
elseif(LEADLINE_SANITIZE STREQUAL "thread")
  target_compile_options(leadline_flags INTERFACE -fsanitize=thread -g1 -Wno-tsan)
  target_link_options(leadline_flags INTERFACE -fsanitize=thread)
endif()

# leadline_library(NAME leadline_x SRCS a.cpp b.cpp DEPS leadline_y Boost::z)
function(leadline_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${ARG_NAME} STATIC ${ARG_SRCS})
    target_link_libraries(${ARG_NAME} PUBLIC leadline_flags ${ARG_DEPS})
  else()
    add_library(${ARG_NAME} INTERFACE)
    target_link_libraries(${ARG_NAME} INTERFACE leadline_flags ${ARG_DEPS})
  endif()
endfunction()

# leadline_program(NAME leadline-x SRCS main.cpp DEPS ...): lands in build/<mode>/bin
function(leadline_program)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE leadline_flags ${ARG_DEPS})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# leadline_test(NAME x_test SRCS ... DEPS ... [LABELS slow] [ARGS ...]): one GoogleTest program, one CTest entry.
function(leadline_test)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS;LABELS;ARGS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE leadline_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${ARG_NAME} PRIVATE LEADLINE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} ${ARG_ARGS})
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
endfunction()
