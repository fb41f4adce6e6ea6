#!/usr/bin/env python3
"""The checks must fail when the tree is broken: each test breaks a small copy in one way and looks at the check's answer."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
HEADER = "#pragma once\n// What it is. Not what it is not.\n\nnamespace leadline {\n\nint answer();\n\n}  // namespace leadline\n"


class ChecksTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="leadline-checks-")
        self.addCleanup(shutil.rmtree, self.root)
        os.makedirs(os.path.join(self.root, ".ci"))
        for name in ("layers.toml", "size_waivers.toml"):
            shutil.copy(os.path.join(HERE, name), os.path.join(self.root, ".ci", name))
        shutil.copy(os.path.join(ROOT, ".clang-format"), self.root)
        self.write(".ci/size_waivers.toml", "")
        self.write("monitoring/answer.h", HEADER)
        self.write("worker/backend/answer.h", HEADER)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def check(self, name):
        result = subprocess.run([sys.executable, os.path.join(HERE, name), "--root", self.root], capture_output=True, text=True)
        return result.returncode, result.stdout + result.stderr

    def assert_passes(self, name):
        status, output = self.check(name)
        self.assertEqual(status, 0, output)

    def assert_fails(self, name, *words):
        status, output = self.check(name)
        self.assertNotEqual(status, 0, output)
        for word in words:
            self.assertIn(word, output)

    def test_layers_pass_then_fail_upwards(self):
        self.write("worker/model/a.cpp", '#include "worker/backend/answer.h"\n#include <vector>\n')
        self.assert_passes("check_layers.py")
        self.write("monitoring/b.cpp", '#include "worker/backend/answer.h"\n')
        self.assert_fails("check_layers.py", "monitoring/b.cpp:1", "worker/backend")

    def test_layers_coordinator_knows_nothing_of_worker(self):
        self.write("coordinator/http/c.cpp", '#include <string>\n#include "worker/errc.h"\n')
        self.assert_fails("check_layers.py", "coordinator/http/c.cpp:2")

    def test_layers_siblings_inside_worker(self):
        self.write("worker/sampling/c.cpp", '#include "worker/model/transformer.h"\n')
        self.assert_fails("check_layers.py", "worker/sampling may not include")

    def test_layers_paths_from_the_root(self):
        self.write("worker/model/c.cpp", '#include "transformer.h"\n')
        self.assert_fails("check_layers.py", "not a path from the root")

    def test_layers_nothing_depends_on_tests(self):
        self.write("monitoring/c.cpp", '#include "tests/support/fake_clock.h"\n')
        self.assert_fails("check_layers.py", "monitoring/c.cpp:1")

    def test_layers_unknown_directory(self):
        self.write("utils/c.cpp", "int x;\n")
        self.assert_fails("check_layers.py", "utils/c.cpp")

    def test_layers_few_files_include_beast(self):
        for i in range(16):
            self.write(f"coordinator/http/b{i}.cpp", "#include <boost/beast/http.hpp>\n")
        self.assert_fails("check_layers.py", "at most 15")

    def test_sizes_long_file(self):
        self.write("monitoring/long.cpp", "int x;\n" * 600)
        self.assert_passes("check_sizes.py")
        self.write("monitoring/long.cpp", "int x;\n" * 601)
        self.assert_fails("check_sizes.py", "monitoring/long.cpp: 601 lines")

    def body(self, lines, head="int Thing::run(int a) const {"):
        return head + "\n" + "  step();\n" * (lines - 2) + "}\n"

    def test_sizes_long_function(self):
        self.write("monitoring/f.cpp", "namespace a {\n" + self.body(70) + "}\n")
        self.assert_passes("check_sizes.py")
        self.write("monitoring/f.cpp", "namespace a {\n" + self.body(71) + "}\n")
        self.assert_fails("check_sizes.py", "monitoring/f.cpp:2", "Thing::run has 71 lines")

    def test_sizes_constructor_with_brace_initialisers(self):
        self.write("monitoring/f.cpp", self.body(71, "Thing::Thing(int a) : a_{a}, b_(2) {"))
        self.assert_fails("check_sizes.py", "has 71 lines")

    def test_sizes_member_in_class_and_string_with_brace(self):
        self.write("monitoring/f.h", "struct S {\n  const char* s = \"{\";\n  // {\n" + self.body(71, "  int f() {") + "};\n")
        self.assert_fails("check_sizes.py", "monitoring/f.h:4")

    def test_sizes_parameters(self):
        six = "int f(int a, std::map<int, int> b, int c = g(1, 2), int d, int e, int f);\n"
        self.write("monitoring/f.h", six)
        self.assert_passes("check_sizes.py")
        self.write("monitoring/f.h", six.replace("int f)", "int f, int g)"))
        self.assert_fails("check_sizes.py", "f has 7 parameters")

    def test_sizes_waiver_with_reason_and_stale_waiver(self):
        self.write("monitoring/f.cpp", self.body(80))
        waiver = '[[waiver]]\npath = "monitoring/f.cpp"\nfunction = "Thing::run"\nlines = 90\nreason = "%s"\n'
        self.write(".ci/size_waivers.toml", waiver % "it is the model")
        self.assert_passes("check_sizes.py")
        self.write(".ci/size_waivers.toml", waiver % "")
        self.assert_fails("check_sizes.py", "a waiver has a reason")
        self.write("monitoring/f.cpp", self.body(10))
        self.write(".ci/size_waivers.toml", waiver % "it is the model")
        self.assert_fails("check_sizes.py", "not needed any more")

    def test_sizes_python_function(self):
        self.write("tests/f.py", "def f():\n" + "    pass\n" * 70)
        self.assert_fails("check_sizes.py", "f has 71 lines")

    def test_format(self):
        self.write("monitoring/f.cpp", "int f() {\n  return 1;\n}\n")
        self.assert_passes("check_format.py")
        self.write("monitoring/f.cpp", "int  f( ) {return 1;}\n")
        self.assert_fails("check_format.py", "monitoring/f.cpp")

    def test_headers_alone(self):
        self.assert_passes("check_headers.py")
        self.write("monitoring/answer.h", HEADER.replace("int answer", "std::string answer"))
        self.assert_fails("check_headers.py", "monitoring/answer.h: does not compile alone")

    def test_headers_change_in_an_included_file_is_seen(self):
        self.write("worker/backend/user.h", HEADER.replace("\nnamespace", '\n#include "worker/backend/answer.h"\nnamespace', 1))
        self.assert_passes("check_headers.py")
        self.write("worker/backend/answer.h", HEADER.replace("int answer", "Missing answer"))
        self.assert_fails("check_headers.py", "worker/backend/user.h: does not compile alone")

    def test_headers_begin_with_their_purpose(self):
        self.write("monitoring/answer.h", HEADER.replace("// What it is. Not what it is not.\n", ""))
        self.assert_fails("check_headers.py", "head comment")
        self.write("monitoring/answer.h", HEADER.replace("#pragma once\n", ""))
        self.assert_fails("check_headers.py", "#pragma once")


if __name__ == "__main__":
    unittest.main()
