// The nereid program: the commands with the real engine behind them.
#include "apps/nereid/command.h"

int main(int argc, char** argv) {
  nereid::commands::Environment environment;
  environment.load_engine = nereid::Engine::load;
  environment.compile_pack = nereid::compile_pack;
  environment.start_serving = nereid::ServingEngine::start;
  return nereid::commands::run_app(argc, argv, environment);
}
