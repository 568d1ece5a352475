// Files that are part of the program; CMakeLists.txt embeds them.
#pragma once

#include <string_view>

namespace nereid::embedded {

extern const std::string_view page_html;     // page/index.html
extern const std::string_view openapi_json;  // openapi.json

}  // namespace nereid::embedded
