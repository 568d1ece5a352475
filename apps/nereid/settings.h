// Flags of a command from elsewhere too: each "--some-flag" from NEREID_SOME_FLAG, and all of them
// from a configuration file. The command line wins over the environment, and that over the file.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace nereid::commands {

// Call it after all flags were added. A flag given an environment name before keeps it; flags that
// may not come from a file or the environment are not configurable(). A flag with an older name too
// has that one's variable as well, where the newer is not set.
void name_environment(CLI::App& command);

// Lines of `flag = value` (TOML; a list for what may be given several times). Throws
// CLI::ParseError: a file that cannot be read, a flag the command does not have, a value that does
// not fit.
void apply_config_file(CLI::App& command, const std::string& path);

}  // namespace nereid::commands
