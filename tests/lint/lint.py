#!/usr/bin/env python3
"""Structure of the tree, executed: layers, places of third parties, banned words, sizes, dead files, missing tests.

usage: lint.py [FOLDER]     exit code 1 and one line for every offence, each with what to do instead

An exception that no file needs any more is an offence too. Formatting is clang-format's (./dev lint).
"""
import pathlib
import re
import sys

# What each folder may include; the longest prefix counts. docs/architecture.md has the same table with reasons.
EVERYTHING = ["base", "protocol", "compression", "aggregation", "coordinator", "client", "simulator", "cli", "tests", "bench"]
LAYERS = {
    "base": ["base"],
    "protocol": ["base", "protocol"],
    "compression": ["base", "compression"],
    "aggregation": ["base", "aggregation"],
    "coordinator": ["base", "protocol", "compression", "aggregation", "coordinator"],
    "client": ["base", "protocol", "compression", "client"],
    "simulator": ["base", "protocol", "compression", "aggregation", "coordinator", "client", "simulator"],
    "cli": EVERYTHING,
    "tests": EVERYTHING,
    "bench": EVERYTHING,
}
# Top-level folders beside the layers that may hold code: build scripts, and whatever serves the documentation.
OTHER_FOLDERS = ["cmake", "configs", "deploy", "docs"]
# Folders and files of the rim, which libraries reach only through interfaces that programs wire.
RIM = ["protocol/zmq", "coordinator/rocksdb", "client/training/torch"]
MAY_WIRE = ["cli", "tests", "bench"]

# Heavy third parties and the only places that may name them.
THIRD_PARTIES = {
    r"zmq\.h": ["protocol/zmq"],
    r"(openssl/|crypto)": ["protocol"],
    r"(capnp/|kj/|protocol/shoal\.capnp\.h|shoal\.capnp\.h)": ["protocol/wire.cpp"],
    r"rocksdb/": ["coordinator/rocksdb"],
    r"(torch/|ATen/|c10/)": ["client/training/torch"],
    r"(dnnl|oneapi/)": ["client/training/engine"],
    r"hwy/": ["compression", "aggregation", "client/training/engine"],
    r"toml\+\+/": ["cli/config.cpp"],
    r"spdlog/": ["cli"],
    r"CLI/": ["cli"],
    r"httplib\.h": ["coordinator/http.cpp"],
    r"systemd/": ["coordinator/main.cpp"],
}

# pattern, where it holds (libraries or everywhere), what to do instead
BANNED = [
    (r"std::c(out|err)\b", "libraries", "write through a Log or return text; only programs print"),
    (r"\bsleep_for\b|\busleep\(|\bsleep_until\b", "everywhere", "wait for the condition itself: a condition variable, poll or a deadline"),
    (r"(?<![\w:.])s?rand\(", "everywhere", "draw from a Stream (base/rng.h)"),
    (r"std::(mt19937|random_device|default_random_engine)", "everywhere", "draw from a Stream (base/rng.h)"),
    (r"using namespace std;", "everywhere", "name what is used"),
    (r"system_clock", "libraries", "take the time as an argument; programs hold clocks"),
    (r"\b(TODO|FIXME|XXX|HACK)\b", "everywhere", "do it, or write a decision note in docs/decisions"),
    (r"catch\s*\([^)]*\)\s*\{\s*\}", "everywhere", "turn the exception into a Result"),
    (r"(?<![\w/])/(work|home|root|mnt)/[a-z]", "everywhere", "use a relative path or an option"),
    (r"#include <iostream>", "libraries", "use <ostream> in interfaces, a Log for lines"),
]
# file: pattern index words it may use, with the reason. Keep it short.
EXCEPTIONS = {}

MAX_LINES = 500
# Sources without a test twin of their own, and what covers them instead.
NO_TWIN = {
    "client/training/torch/batch.h": "inside the plugin; its tests go through make_torch_trainer",
    "client/training/torch/model.h": "inside the plugin; its tests go through make_torch_trainer",
}

CODE = (".h", ".cpp")
# What else would be code, and would escape the rules under another name.
CODE_BY_OTHER_NAMES = (".c", ".cc", ".cxx", ".hh", ".hpp", ".hxx", ".inl", ".ipp", ".py")
SKIP = {"build", ".git", ".cache", "shared"}


class Lint:
    def __init__(self, root):
        self.root = root
        self.offences = []
        self.used_exceptions = set()
        self.files = sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_file() and not (set(path.relative_to(root).parts[:1]) & SKIP) and not path.parts[len(root.parts)].startswith("build-")
        )

    def offend(self, file, line, message):
        self.offences.append(f"{file}:{line}: {message}")

    def check_place(self, file):
        folder = file.split("/")[0]
        known = folder in LAYERS or folder in OTHER_FOLDERS
        if file.endswith(CODE + CODE_BY_OTHER_NAMES) and not known:
            self.offend(file, 1, "no layer has code here; move it to a folder of the table in tests/lint/lint.py and docs/architecture.md")
        if file.endswith(CODE_BY_OTHER_NAMES) and folder in LAYERS and not file.endswith(".py"):
            self.offend(file, 1, "sources are named *.cpp and headers *.h; rename it")

    def check_includes(self, file, lines):
        layer = file.split("/")[0]
        if layer not in LAYERS:
            return  # check_place speaks
        is_program = file.endswith("/main.cpp")
        for number, line in enumerate(lines, 1):
            found = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if not found:
                continue
            name = found.group(1)
            target = name.split("/")[0]
            if target in LAYERS and "/" in name:
                allowed = EVERYTHING if is_program else LAYERS[layer]
                if target not in allowed:
                    self.offend(file, number, f"{layer}/ may not include {target}/ (allowed: {', '.join(allowed)}); move the code or pass an interface")
                if target == "tests" and layer not in ("tests", "bench"):
                    self.offend(file, number, "only tests and bench include tests/")
                inside = lambda rim: file.startswith(rim + "/")
                for rim in RIM:
                    if name.startswith(rim + "/") and not inside(rim) and not is_program and layer not in MAY_WIRE:
                        if not (rim == "client/training/torch" and name == "client/training/torch/plugin.h"):
                            self.offend(file, number, f"{name} is the rim; take its interface as an argument and let a main.cpp wire it")
            for pattern, places in THIRD_PARTIES.items():
                if re.match(pattern, name) and layer not in ("tests", "bench") and not is_program:
                    if not any(file == place or file.startswith(place + "/") for place in places):
                        self.offend(file, number, f"<{name}> belongs only in {', '.join(places)}; use what that place offers")

    def check_words(self, file, text):
        # Words in comments are prose, but for promises of work.
        code = re.sub(r"//[^\n]*", lambda comment: comment.group(0) if re.search(r"TODO|FIXME|XXX|HACK|/(work|home|root|mnt)/", comment.group(0)) else "", text)
        is_library = not file.startswith(("tests/", "bench/", "cli/")) and not file.endswith("/main.cpp")
        for pattern, where, instead in BANNED:
            if where == "libraries" and not is_library:
                continue
            for found in re.finditer(pattern, code):
                exception = EXCEPTIONS.get(file)
                if exception and exception[0] == pattern:
                    self.used_exceptions.add(file)
                    continue
                number = code.count("\n", 0, found.start()) + 1
                self.offend(file, number, f'"{found.group(0).strip()}" is banned: {instead}')

    def check_shape(self, file, lines):
        if len(lines) > MAX_LINES:
            self.offend(file, MAX_LINES, f"{len(lines)} lines; a file has one noun and at most {MAX_LINES} lines: split it")
        if file.endswith(".h") and "#pragma once" not in lines:
            self.offend(file, 1, "a header begins with its sentence and #pragma once")
        if file.endswith(".h") and not lines[0].startswith("//"):
            self.offend(file, 1, "open the file with one sentence on what it is for")
        for number, line in enumerate(lines, 1):
            if line != line.rstrip():
                self.offend(file, number, "trailing space; run ./dev format")

    def check_dead_files(self):
        listed = "\n".join((self.root / f).read_text() for f in self.files if f.endswith("CMakeLists.txt"))
        stems = set(re.findall(r"[\w/.-]+", listed))
        names = {pathlib.PurePosixPath(word).name for word in stems}
        for file in self.files:
            path = pathlib.PurePosixPath(file)
            if path.suffix == ".cpp" and path.name not in names and not (file.startswith("tests/fuzz/") and path.stem in stems):
                self.offend(file, 1, "no CMakeLists.txt lists this file; list it or delete it")

    def check_twins(self):
        """Every header with a source has a test: one that includes it, or that reaches it through headers of its own folder."""
        def includes_of(file):
            return set(re.findall(r'#include "([^"]+)"', (self.root / file).read_text())) if file in known else set()

        known = set(self.files)
        # A source implements the header of its own folder that it includes first.
        sources = {}
        for file in self.files:
            own = rf'#include "({re.escape(file.rpartition("/")[0])}/[^"/]+)"'
            first = re.search(own, (self.root / file).read_text()) if file.endswith(".cpp") else None
            if first:
                sources.setdefault(first.group(1), []).append(file)
        covered = set()
        tests = [f for f in self.files if f.startswith(("tests/", "bench/")) and f.endswith(CODE)]
        waiting = [name for test in tests for name in includes_of(test) if name in known]
        while waiting:
            header = waiting.pop()
            if header in covered:
                continue
            covered.add(header)
            folder = header.rpartition("/")[0]
            reached = includes_of(header).union(*(includes_of(source) for source in sources.get(header, [])))
            waiting += [name for name in reached if name.rpartition("/")[0] == folder]
        for file in self.files:
            if file.split("/")[0] not in LAYERS or file.startswith(("tests/", "bench/")) or not file.endswith(".h"):
                continue
            if file.removesuffix(".h") + ".cpp" not in known:
                continue
            if file in NO_TWIN and file in covered:
                self.offend(file, 1, "a test reaches it; drop it from NO_TWIN in tests/lint/lint.py")
            elif file not in NO_TWIN and file not in covered:
                stem = file.removesuffix(".h")
                self.offend(file, 1, f"no test reaches it; write tests/{stem}_test.cpp, or justify it in NO_TWIN of tests/lint/lint.py")

    def run(self):
        for file in self.files:
            self.check_place(file)
            if not file.endswith(CODE):
                continue
            text = (self.root / file).read_text()
            lines = text.splitlines() or [""]
            self.check_includes(file, lines)
            self.check_words(file, text)
            self.check_shape(file, lines)
        self.check_dead_files()
        self.check_twins()
        for file in sorted(set(EXCEPTIONS) - self.used_exceptions):
            self.offend("tests/lint/lint.py", 1, f"the exception for {file} is not needed any more; delete it")
        for file in sorted(set(NO_TWIN) - set(self.files)):
            self.offend("tests/lint/lint.py", 1, f"{file} of NO_TWIN does not exist any more; delete it")
        return self.offences


def main():
    default = pathlib.Path(__file__).resolve().parents[2]
    offences = Lint(pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else default).run()
    for offence in offences:
        print(offence)
    if offences:
        print(f"lint: {len(offences)} offences", file=sys.stderr)
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
