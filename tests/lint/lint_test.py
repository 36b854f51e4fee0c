#!/usr/bin/env python3
"""The lint on a small tree: nothing to say while it is clean, and every rule named once it is broken."""
import importlib.util
import pathlib
import tempfile
import unittest

spec = importlib.util.spec_from_file_location("lint", pathlib.Path(__file__).with_name("lint.py"))
lint = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lint)

HEADER = "// A sentence.\n#pragma once\n"
CLEAN = {
    "CMakeLists.txt": "add_subdirectory(base)\n",
    "base/CMakeLists.txt": "thing.cpp thing_test.cpp main.cpp cut.cpp\n",
    "base/thing.h": HEADER,
    "base/thing.cpp": '#include "base/thing.h"\n',
    "tests/base/thing_test.cpp": '#include "base/thing.h"\n',
    "docs/figure.py": "print(1)\n",
    "build/generated.cpp": "using namespace std;\n",
}


def offences(changes):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        for name, text in {**CLEAN, **changes}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        # What the table of exceptions says of the real tree is not this tree's.
        return [o for o in lint.Lint(root).run() if "NO_TWIN does not exist" not in o]


# What is added to the clean tree: file, text, the line, and a part of what is said.
BROKEN = [
    ("tools/thing.cpp", "", 1, "no layer has code here"),
    ("thing.cpp", "", 1, "no layer has code here"),
    ("scripts/run.py", "", 1, "no layer has code here"),
    ("base/other.cc", "", 1, "sources are named"),
    ("base/thing.hpp", "", 1, "sources are named"),
    # layers
    ("base/cut.cpp", '#include "protocol/limits.h"\n', 1, "base/ may not include protocol/"),
    ("client/cut.cpp", '#include "coordinator/machine.h"\n', 1, "client/ may not include coordinator/"),
    ("coordinator/cut.cpp", '\n#include "client/session.h"\n', 2, "coordinator/ may not include client/"),
    ("simulator/cut.cpp", '#include "cli/config.h"\n', 1, "simulator/ may not include cli/"),
    ("cli/cut.cpp", '#include "tests/support/world.h"\n', 1, "only tests and bench include tests/"),
    # the rim and third parties
    ("coordinator/cut.cpp", '#include "protocol/zmq/control.h"\n', 1, "is the rim"),
    ("simulator/cut.cpp", '#include "coordinator/rocksdb/store.h"\n', 1, "is the rim"),
    ("client/cut.cpp", '#include "client/training/torch/batch.h"\n', 1, "is the rim"),
    ("coordinator/cut.cpp", "#include <zmq.h>\n", 1, "<zmq.h> belongs only in"),
    ("coordinator/cut.cpp", "#include <openssl/evp.h>\n", 1, "<openssl/evp.h> belongs only in"),
    ("coordinator/cut.cpp", "#include <rocksdb/db.h>\n", 1, "<rocksdb/db.h> belongs only in"),
    ("client/cut.cpp", "#include <torch/torch.h>\n", 1, "<torch/torch.h> belongs only in"),
    ("protocol/cut.cpp", "#include <capnp/message.h>\n", 1, "<capnp/message.h> belongs only in"),
    ("coordinator/cut.cpp", "#include <toml++/toml.h>\n", 1, "<toml++/toml.h> belongs only in"),
    ("coordinator/cut.cpp", "#include <spdlog/spdlog.h>\n", 1, "<spdlog/spdlog.h> belongs only in"),
    ("client/cut.cpp", "#include <CLI/CLI.hpp>\n", 1, "<CLI/CLI.hpp> belongs only in"),
    ("client/cut.cpp", "#include <httplib.h>\n", 1, "<httplib.h> belongs only in"),
    ("client/cut.cpp", "#include <systemd/sd-daemon.h>\n", 1, "<systemd/sd-daemon.h> belongs only in"),
    ("client/cut.cpp", "#include <dnnl.hpp>\n", 1, "<dnnl.hpp> belongs only in"),
    ("client/cut.cpp", "#include <hwy/highway.h>\n", 1, "<hwy/highway.h> belongs only in"),
    # words
    ("base/cut.cpp", 'void f() { std::cout << 1; }\n', 1, "write through a Log"),
    ("base/cut.cpp", "#include <iostream>\n", 1, "use <ostream> in interfaces"),
    ("base/cut.cpp", "auto t = std::chrono::system_clock::now();\n", 1, "take the time as an argument"),
    ("tests/cut.cpp", "void f() { std::this_thread::sleep_for(x); }\n", 1, "wait for the condition itself"),
    ("tests/cut.cpp", "int x = rand();\n", 1, "draw from a Stream"),
    ("tests/cut.cpp", "std::mt19937 g;\n", 1, "draw from a Stream"),
    ("tests/cut.cpp", "using namespace std;\n", 1, "name what is used"),
    ("tests/cut.cpp", "int x;  // TO" "DO: y\n", 1, "do it, or write a decision note"),
    ("tests/cut.cpp", "void f() { try { g(); } catch (...) {} }\n", 1, "turn the exception into a Result"),
    ("tests/cut.cpp", 'auto p = "/ho' 'me/me";\n', 1, "use a relative path"),
    # shape
    ("base/cut.cpp", "int x;\n" * 501, 500, "501 lines"),
    ("base/cut.h", "// A sentence.\n", 1, "#pragma once"),
    ("base/cut.h", "#pragma once\n", 1, "open the file with one sentence"),
    ("base/cut.cpp", "int x; \n", 1, "trailing space"),
    # the tree
    ("base/forgotten.cpp", "", 1, "no CMakeLists.txt lists this file"),
]


class LintTest(unittest.TestCase):
    def test_a_clean_tree_has_no_offences(self):
        self.assertEqual(offences({}), [])

    def test_every_broken_rule_is_named_with_its_line(self):
        for file, text, line, said in BROKEN:
            with self.subTest(file=file, said=said):
                found = offences({file: text})
                self.assertTrue(any(o.startswith(f"{file}:{line}: ") and said in o for o in found), found)

    def test_a_header_without_a_test_is_named(self):
        found = offences({"base/cut.h": HEADER, "base/cut.cpp": '#include "base/cut.h"\n'})
        self.assertTrue(any(o.startswith("base/cut.h:1: no test reaches it") for o in found), found)

    def test_what_nobody_needs_any_more_is_named(self):
        lint.EXCEPTIONS["base/thing.cpp"] = (lint.BANNED[0][0], "a reason")
        lint.NO_TWIN["base/thing.h"] = "a reason"
        try:
            found = offences({})
        finally:
            del lint.EXCEPTIONS["base/thing.cpp"], lint.NO_TWIN["base/thing.h"]
        self.assertTrue(any("the exception for base/thing.cpp is not needed" in o for o in found), found)
        self.assertTrue(any(o.startswith("base/thing.h:1: a test reaches it; drop it") for o in found), found)

    def test_programs_and_tests_may_wire_the_rim(self):
        for file in ("coordinator/main.cpp", "tests/cut.cpp", "cli/cut.cpp"):
            self.assertEqual(offences({file: '#include "protocol/zmq/control.h"\n'}), [])

    def test_every_rule_of_the_tables_is_tried(self):
        for pattern in lint.THIRD_PARTIES:
            self.assertTrue(any(lint.re.search("<" + pattern, text) for _, text, _, _ in BROKEN), pattern)
        for pattern, _, _ in lint.BANNED:
            self.assertTrue(any(lint.re.search(pattern, text) for _, text, _, _ in BROKEN), pattern)


if __name__ == "__main__":
    unittest.main()
