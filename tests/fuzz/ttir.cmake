# fuzz_ttir, the fuzz target of nereid-cc's front half. LLVM and MLIR come without sanitizers, and a second
# build of the compiler is long: so it is linked with the compiler library of this build as it is. It looks
# for crashes, failed checks, endless loops and excessive memory, without coverage to guide it.
# `all` compiles it, so that it keeps up with the compiler; `./dev fuzz` links and runs it.
add_library(fuzz_ttir_object OBJECT ${CMAKE_CURRENT_LIST_DIR}/fuzz_ttir.cc)
target_link_libraries(fuzz_ttir_object PRIVATE nereid_compiler)
set_target_properties(fuzz_ttir_object PROPERTIES CXX_STANDARD 20)
add_executable(fuzz_ttir EXCLUDE_FROM_ALL $<TARGET_OBJECTS:fuzz_ttir_object>)
target_link_libraries(fuzz_ttir PRIVATE nereid_compiler)
target_link_options(fuzz_ttir PRIVATE -fsanitize=fuzzer)
set_target_properties(fuzz_ttir PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzzers)
