"""tests/gpu/run.sh against fake tools: every section runs with the arguments that a GPU machine would see, limits hold, a build that was
cut off goes on, and the report says so. No compiler and no GPU: cmake, nvidia-smi, compute-sanitizer and the built programs are scripts
that log what they were called with.
"""
import json
import os
import shutil
import stat
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CMAKE = r'''#!/bin/bash
echo "cmake $*" >>"$FAKE_LOG"
if [[ $* == *"--target help"* ]]; then [[ -n $FAKE_CUDA ]] && echo "leadline_cuda: phony"; exit 0; fi
if [[ $1 == -S ]]; then mkdir -p "$FAKE_BUILD"; exit "${FAKE_CONFIGURE:-0}"; fi
target=$6   # --build DIR --parallel N --target NAMES...
echo "[1/4] Building $target"
if [[ $target == "$FAKE_SLOW" && ! -e $FAKE_BUILD/was_cut ]]; then touch "$FAKE_BUILD/was_cut"; echo "[2/4] Building more"; exec sleep 60; fi
echo "[4/4] Linking"
'''
PROGRAM = r'''#!/bin/bash
echo "$(basename "$0") device=$LEADLINE_DEVICE $*" >>"$FAKE_LOG"
echo "[  PASSED  ] 7 tests."
[[ $(basename "$0") == gpu_bench ]] && echo '{"stage": "copy", "rows": 1, "us": 2.0}'
exit 0
'''
SANITIZER = '#!/bin/bash\necho "compute-sanitizer $*" >>"$FAKE_LOG"\necho "========= ERROR SUMMARY: 0 errors"\n'


class GpuRun(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="leadline-gpu-run-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.bin, self.build = os.path.join(self.dir, "bin"), os.path.join(self.dir, "build")
        os.makedirs(self.bin)
        for name in ("tests", "bin"):
            os.makedirs(os.path.join(self.build, name))
        self.write(os.path.join(self.bin, "cmake"), CMAKE)
        for name in ("tests/backend_conformance_test", "tests/cuda_host_test", "tests/model_test", "bin/gpu_bench"):
            self.write(os.path.join(self.build, name), PROGRAM)
        self.log = os.path.join(self.dir, "log")

    def write(self, path, text):
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

    def run_script(self, *options, gpu, **fakes):
        if gpu:
            self.write(os.path.join(self.bin, "nvidia-smi"), "#!/bin/bash\necho 'Fake H100, 81559 MiB, 550.1'\n")
            self.write(os.path.join(self.bin, "compute-sanitizer"), SANITIZER)
        else:
            self.write(os.path.join(self.bin, "nvidia-smi"), "#!/bin/bash\nexit 9\n")
        open(self.log, "w").close()
        env = dict(os.environ, PATH=self.bin + ":" + os.environ["PATH"], FAKE_LOG=self.log, FAKE_BUILD=self.build,
                   LEADLINE_GPU_BUILD=self.build, **fakes)
        env.pop("LEADLINE_CUDA", None)
        done = subprocess.run([os.path.join(ROOT, "tests/gpu/run.sh"), "--out", self.dir, *options], env=env, capture_output=True,
                              text=True, timeout=120)
        with open(os.path.join(self.dir, "report.json")) as file:
            report = json.load(file)
        with open(self.log) as file:
            calls = file.read()
        return done, {p["name"]: p for p in report["parts"]}, calls, report

    def test_with_a_gpu_every_part_runs(self):
        done, parts, calls, report = self.run_script(gpu=True, FAKE_CUDA="1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual({p["result"] for p in parts.values()}, {"ok"}, parts)
        self.assertEqual(report["gpu"], "Fake H100, 81559 MiB, 550.1")
        self.assertIn("-DLEADLINE_CUDA=ON", calls)
        self.assertIn("-DLEADLINE_PARTS=engine", calls)
        self.assertIn("--target leadline_cuda\n", calls)
        self.assertIn("cuda_host_test device=cuda --gtest_filter=CudaModel.*:CudaChoice.*", calls)
        self.assertIn("backend_conformance_test device= --gtest_filter=*/cuda\n", calls)
        self.assertIn("backend_conformance_test device= --gtest_filter=-*/cuda\n", calls)
        self.assertLess(calls.index("gpu_bench device="), calls.index("--gtest_filter=-*/cuda"), "the GPU's parts come first")
        for tool in ("memcheck", "racecheck"):
            self.assertIn(f"compute-sanitizer --tool {tool} --error-exitcode 9 {self.build}/tests/backend_conformance_test --gtest_filter=", calls)
        self.assertEqual(parts["bench"]["rows"], [{"stage": "copy", "rows": 1, "us": 2.0}])
        self.assertEqual(parts["memcheck"]["notes"], ["========= ERROR SUMMARY: 0 errors"])
        with open(os.path.join(self.dir, "report.md")) as file:
            self.assertIn("| bench | ok |", file.read())

    def test_without_a_gpu_it_says_so_after_building(self):
        done, parts, calls, report = self.run_script(gpu=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("no GPU here", done.stdout)
        self.assertEqual(report["gpu"], "none")
        self.assertEqual(parts["build_tests"]["result"], "ok")
        self.assertEqual(parts["conformance"]["result"], "ok")
        self.assertIn("no CUDA toolkit", parts["build_device"]["result"])
        for name in ("device_laws", "device_model", "memcheck", "racecheck", "bench"):
            self.assertEqual(parts[name]["result"], "not run: no GPU")
        self.assertNotIn("compute-sanitizer", calls)

    def test_a_build_that_is_cut_off_says_where_and_goes_on(self):
        slow = {"FAKE_CUDA": "1", "FAKE_SLOW": "leadline_model", "LEADLINE_GPU_BUDGET": "9"}
        done, parts, _, _ = self.run_script(gpu=True, **slow)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(parts["build_device"]["result"], "ok")
        self.assertEqual(parts["build_engine"]["result"], "over its time")
        self.assertEqual(parts["build_engine"]["notes"], ["step 2 of 4", "cut off: the next run goes on from here"])
        self.assertIn("earlier stage", parts["build_tests"]["result"])
        self.assertIn("run again", parts["conformance"]["result"])
        done, parts, _, _ = self.run_script(gpu=True, **slow)  # the same limits: what was built stays built
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(parts["bench"]["result"], "ok")

    def test_prepare_carries_what_a_bare_machine_lacks(self):
        carried = os.path.join(self.dir, "carried")
        done = subprocess.run([os.path.join(ROOT, "tests/gpu/prepare.sh"), carried], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for name in ("include/tl/expected.hpp", "include/nlohmann/json.hpp", "include/xxhash.h", "googletest/CMakeLists.txt",
                     "googletest/googletest/src/gtest-all.cc", "googletest/googlemock/src/gmock-all.cc"):
            self.assertTrue(os.path.exists(os.path.join(carried, name)), name)
        size = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(carried) for name in names)
        self.assertLess(size, 8 << 20, "it travels with the tree")
        self.assertEqual([f for f in os.listdir(os.path.join(carried, "include")) if f.startswith(("boost", "mpi"))], [])

    def test_build_only(self):
        done, parts, calls, _ = self.run_script("--build-only", gpu=False, FAKE_CUDA="1")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(parts["build_device"]["result"], "ok")
        self.assertEqual(parts["conformance"]["result"], "not run: --build-only")
        self.assertNotIn("conformance_test device", calls)

    def test_a_configuration_that_fails_is_the_report(self):
        done, parts, _, _ = self.run_script(gpu=False, FAKE_CONFIGURE="3")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(parts["configure"]["result"], "failed (3)")
        self.assertIn("earlier stage", parts["build_engine"]["result"])


if __name__ == "__main__":
    unittest.main()
