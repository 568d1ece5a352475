# The Rust crate behind src/text, built by cargo into one static library: target nereid_text_rust.
# Dependencies are pinned by Cargo.lock and come from crates.io on the first build.
find_program(NEREID_CARGO cargo HINTS $ENV{HOME}/.cargo/bin $ENV{CARGO_HOME}/bin)
if(NOT NEREID_CARGO)
  message(FATAL_ERROR "cargo not found; it is needed for rust/nereid_text (Debian: rustc-web cargo-web)")
endif()

set(NEREID_RUST_SOURCE ${PROJECT_SOURCE_DIR}/rust/nereid_text)
# One cargo folder for all build folders of this checkout, so that presets share the dependencies.
if(NEREID_FUZZ)
  # Coverage counters for libFuzzer in Rust code as well; the runtime comes from the fuzz target. The
  # explicit --target keeps the flags away from build scripts.
  set(NEREID_RUST_TRIPLE ${CMAKE_SYSTEM_PROCESSOR}-unknown-linux-gnu)
  set(NEREID_RUST_TARGET ${PROJECT_SOURCE_DIR}/build/rust-fuzz)
  set(NEREID_RUST_LIBRARY ${NEREID_RUST_TARGET}/${NEREID_RUST_TRIPLE}/release/libnereid_text.a)
  set(NEREID_CARGO_ENV
      "RUSTFLAGS=-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
      "CARGO_PROFILE_RELEASE_LTO=off")
  set(NEREID_CARGO_FLAGS --target ${NEREID_RUST_TRIPLE})
else()
  set(NEREID_RUST_TARGET ${PROJECT_SOURCE_DIR}/build/rust)
  set(NEREID_RUST_LIBRARY ${NEREID_RUST_TARGET}/release/libnereid_text.a)
  set(NEREID_CARGO_ENV)
  set(NEREID_CARGO_FLAGS)
endif()
file(GLOB NEREID_RUST_FILES CONFIGURE_DEPENDS ${NEREID_RUST_SOURCE}/src/*.rs)
set(NEREID_CARGO_JOBS 2 CACHE STRING "Parallel jobs of cargo")

add_custom_command(
  OUTPUT ${NEREID_RUST_LIBRARY}
  COMMAND
    ${CMAKE_COMMAND} -E env ${NEREID_CARGO_ENV} ${NEREID_CARGO} build --release --locked --quiet
    --jobs ${NEREID_CARGO_JOBS} --manifest-path ${NEREID_RUST_SOURCE}/Cargo.toml --target-dir
    ${NEREID_RUST_TARGET} ${NEREID_CARGO_FLAGS}
  COMMAND ${CMAKE_COMMAND} -E touch ${NEREID_RUST_LIBRARY}
  DEPENDS ${NEREID_RUST_FILES} ${NEREID_RUST_SOURCE}/Cargo.toml ${NEREID_RUST_SOURCE}/Cargo.lock
  COMMENT "Building rust/nereid_text with cargo"
  USES_TERMINAL VERBATIM)
add_custom_target(nereid_text_cargo DEPENDS ${NEREID_RUST_LIBRARY})

add_library(nereid_text_rust STATIC IMPORTED GLOBAL)
add_dependencies(nereid_text_rust nereid_text_cargo)
set_target_properties(nereid_text_rust PROPERTIES IMPORTED_LOCATION ${NEREID_RUST_LIBRARY})
find_package(Threads REQUIRED)
target_link_libraries(nereid_text_rust INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
# Most of the crate is never called: leave it out of programs.
target_link_options(nereid_text_rust INTERFACE -Wl,--gc-sections)
