# nereid_embed(target name file): the file's bytes as `extern const std::string_view nereid::embedded::name`
# in the target; made anew when the file changes. Run with -P, this script writes the source.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${INPUT} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "((0x..,){20})" "\\1\n" bytes "${bytes}")
  file(WRITE ${OUTPUT}
       "// Made from a file by cmake/embed.cmake.\n#include <string_view>\n"
       "namespace nereid::embedded {\nnamespace {\nconstexpr unsigned char ${NAME}_bytes[] = {\n${bytes}0};\n}\n"
       "extern const std::string_view ${NAME};\n"
       "const std::string_view ${NAME}(reinterpret_cast<const char*>(${NAME}_bytes), sizeof(${NAME}_bytes) - 1);\n"
       "}  // namespace nereid::embedded\n")
  return()
endif()

function(nereid_embed target name file)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_${name}.cc)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DOUTPUT=${output} -DNAME=${name} -P
            ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${input} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    COMMENT "Embedding ${file}" VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
