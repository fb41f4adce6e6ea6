#!/usr/bin/env python3
"""run_tests.py must count what happened: a tree of stand-in tests with known outcomes, and the last line that follows."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
RUNNER = os.path.join(os.path.dirname(HERE), "run_tests.py")
GTEST = '''#!/bin/sh
cat > "${GTEST_OUTPUT#json:}/%(name)s.json" <<'JSON'
{"testsuites": [{"name": "S", "testsuite": [%(cases)s]}]}
JSON
exit %(status)d
'''
PASSED = '{"name": "a", "status": "RUN", "result": "COMPLETED"}'
FAILED = '{"name": "b", "status": "RUN", "result": "COMPLETED", "failures": [{"failure": "no"}]}'
SKIPPED = '{"name": "c", "status": "RUN", "result": "SKIPPED", "skipped": [{"message": "no such device"}]}'


class RunTestsTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="leadline-run-tests-")
        self.addCleanup(shutil.rmtree, self.root)
        os.makedirs(os.path.join(self.root, "tests/integration"))
        os.makedirs(os.path.join(self.root, "build"))
        shutil.copy(RUNNER, os.path.join(self.root, "tests"))
        self.listed = []

    def program(self, name, text, labels=""):
        path = os.path.join(self.root, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, stat.S_IRWXU)
        self.listed.append(f'add_test({name} "{path}")\nset_tests_properties({name} PROPERTIES TIMEOUT 2 LABELS "{labels}")\n')

    def gtest(self, name, cases, status=0, labels=""):
        self.program(name, GTEST % {"name": name, "cases": ", ".join(cases), "status": status}, labels)

    def script(self, name, text):
        with open(os.path.join(self.root, "tests/integration", name), "w") as file:
            file.write(text)

    def run_tests(self):
        build = os.path.join(self.root, "build")
        with open(os.path.join(build, "CTestTestfile.cmake"), "w") as file:
            file.write("".join(self.listed))
        done = subprocess.run([sys.executable, os.path.join(self.root, "tests/run_tests.py"), "--build", build],
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    def assert_counts(self, passed, failed, skipped):
        status, output = self.run_tests()
        self.assertEqual(output.splitlines()[-1], f"{passed} passed, {failed} failed, {skipped} skipped", output)
        self.assertEqual(status, 0 if failed == 0 and passed > 0 else 1)
        return output

    def test_gtest_cases_count_each(self):
        self.gtest("good", [PASSED, SKIPPED])
        self.gtest("bad", [PASSED, FAILED], status=1)
        output = self.assert_counts(2, 1, 1)
        self.assertIn("skipped S.c: no such device", output)
        self.assertIn("failed S.b", output)

    def test_a_reason_that_only_the_output_tells(self):
        sys.path.insert(0, os.path.dirname(RUNNER))
        import run_tests
        output = "[ RUN      ] S.c/2\n/t.cpp:3: Skipped\nno such\ndevice\n\n[  SKIPPED ] S.c/2 (0 ms)\n[ RUN      ] S.d\n"
        self.assertEqual(run_tests.skip_reasons(output), {"S.c/2": "no such device"})

    def test_plain_programs_count_one(self):
        self.program("good", "#!/bin/sh\nexit 0\n")
        self.program("absent", "#!/bin/sh\necho no promtool here\nexit 77\n")
        self.assertIn("no promtool here", self.assert_counts(1, 0, 1))

    def test_a_crash_after_the_report_and_a_hang_are_failures(self):
        self.gtest("crash", [PASSED], status=134)
        self.program("hang", "#!/bin/sh\nsleep 60\n")
        self.assert_counts(1, 2, 0)

    def test_slow_tests_are_left_out(self):
        self.gtest("quick", [PASSED])
        self.gtest("late", [FAILED], status=1, labels="slow")
        self.script("late_test.py", "# labels: slow\nraise SystemExit(1)\n")
        self.assert_counts(1, 0, 0)

    def test_unittest_scripts_count_their_cases(self):
        self.script("mixed_test.py", '''
import unittest
class A(unittest.TestCase):
    def test_one(self): pass
    def test_two(self): self.fail("no")
    def test_three(self): self.skipTest("not on this machine")
    def test_four(self): raise OSError("broken")
unittest.main()
''')
        output = self.assert_counts(1, 2, 1)
        self.assertTrue(re.search("skipped test_three: not on this machine", output), output)

    def test_nothing_run_is_not_success(self):
        self.assert_counts(0, 0, 0)


if __name__ == "__main__":
    unittest.main()
