"""The images install exactly the packages of the shared libraries that their programs need; Dockerfiles keep the rules."""
import glob
import os
import re
import shutil
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
DOCKERFILES = {os.path.basename(p)[:-len(".Dockerfile")]: p for p in sorted(glob.glob(ROOT + "/deploy/docker/*.Dockerfile"))}
# What debian:12-slim has anyway (apt itself needs them).
BASE = {"libc6", "libgcc-s1", "libstdc++6", "zlib1g"}
# Libraries that the node's driver or NVIDIA's repository brings, and their packages' names without the version.
CUDA = {"cuda-cudart-$CUDA", "libcublas-$CUDA", "libnccl2"}


def text_of(image):
    with open(DOCKERFILES[image]) as file:
        return file.read().replace("\\\n", " ")


def final_stage(image):
    return text_of(image).rsplit("\nFROM ", 1)[1]


def installed(stage):
    names = re.search(r"apt-get install -y --no-install-recommends\s+(.*?)&&", stage, re.S).group(1)
    return set(names.split())


def programs(image):
    return [word for line in re.findall(r"COPY --from=build (.*) /usr/local/bin/", final_stage(image)) for word in line.split()]


def needed_packages(program):
    """Packages of the libraries that the program names itself, by dpkg on this machine."""
    dump = subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r"NEEDED\s+(\S+)", dump)
    found = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    places = dict(re.findall(r"(\S+) => (/\S+)", found))
    packages = set()
    for library in wanted:
        if library.startswith("ld-linux"):
            continue
        real = os.path.realpath(places[library])
        owner = None
        for path in (places[library], real, re.sub(r"^/usr", "", real), "/usr" + real):
            done = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                owner = done.stdout.split(":")[0]
                break
        if owner is None:
            raise AssertionError(f"{program}: no package has {library} ({real})")
        packages.add(owner)
    return packages


class Images(unittest.TestCase):
    @unittest.skipIf(shutil.which("dpkg-query") is None or shutil.which("objdump") is None, "no dpkg-query or objdump")
    def test_libraries_are_those_installed(self):
        for image in ("coordinator", "trainer", "worker-cpu"):
            wanted = set()
            for program in programs(image):
                here = os.path.join(BUILD, "bin", os.path.basename(program))
                if not os.path.exists(here):
                    self.skipTest(f"no {here}: build first")
                wanted |= needed_packages(here)
            self.assertEqual(installed(final_stage(image)), wanted - BASE, image)

    def test_cuda_differs_from_cpu_by_cuda(self):
        self.assertEqual(installed(final_stage("worker-cuda")) - installed(final_stage("worker-cpu")), CUDA)

    def test_rules_of_final_stages(self):
        self.assertEqual(sorted(DOCKERFILES), ["coordinator", "trainer", "worker-cpu", "worker-cuda"])
        for image in DOCKERFILES:
            stage = final_stage(image)
            for rule in ("\nUSER 10001:10001", "\nHEALTHCHECK ", "\nLABEL org.opencontainers.image.title", "\nENTRYPOINT [", "\nSTOPSIGNAL SIGTERM",
                         "rm -rf /var/lib/apt/lists/*"):
                self.assertIn(rule, stage, image)
            self.assertNotIn("-dev", stage)
            bases = set(re.findall(r"^FROM (\S+)", text_of(image), re.M)) - set(re.findall(r"^FROM \S+ AS (\S+)", text_of(image), re.M))
            self.assertEqual(bases, {"debian:12.12-slim"}, image)
            for source in re.findall(r"COPY (?!--from)(.*) /", stage):
                for path in source.split():
                    self.assertTrue(os.path.exists(os.path.join(ROOT, path)), f"{image}: {path}")

    def test_build_stage_has_what_the_launcher_installs(self):
        with open(os.path.join(ROOT, "leadline")) as file:
            packages = set(re.search(r"run_packages=\((.*?)\)", file.read(), re.S).group(1).split())
        for image in ("coordinator", "trainer", "worker-cpu"):
            self.assertEqual(installed(text_of(image)), packages - {"openmpi-bin"}, image)  # mpirun is not used in images


if __name__ == "__main__":
    unittest.main()
