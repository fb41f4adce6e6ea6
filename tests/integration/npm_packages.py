"""npm_folder: installs pinned npm packages below the build directory, for tests that compare with them. Standard library only."""
import hashlib
import os
import shutil
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
INSTALL_TIMEOUT_S = 120


def npm_folder(*packages):
    """The folder whose node_modules holds exactly `packages` ("name@version"). Raises SkipTest where npm or its registry is
    out of reach."""
    if not shutil.which("npm") or not shutil.which("node"):
        raise unittest.SkipTest("npm is not installed")
    folder = os.path.join(BUILD, "npm", hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12])
    done = os.path.join(folder, "installed")
    if os.path.exists(done):
        return folder
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "package.json"), "w", encoding="utf-8") as file:
        file.write('{"private": true}\n')
    try:
        result = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", *packages],
                                cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"npm install took more than {INSTALL_TIMEOUT_S} s") from None
    if result.returncode != 0:
        raise unittest.SkipTest("npm install failed: " + " ".join(result.stderr.split())[:200])
    open(done, "w").close()
    return folder
