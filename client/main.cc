// amend: the command-line client of amendd.
#include <unistd.h>

#include <iostream>

#include "client/cli/app.h"

int main(int argc, char** argv) {
  return amend::client::RunApp(argc, argv, &std::cout, &std::cerr, isatty(STDERR_FILENO) == 1);
}
