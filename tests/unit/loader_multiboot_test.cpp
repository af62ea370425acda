#include "tests/unit/loader_fixture.h"
