"""What the checks look at: the files of the tree, and C++ source without comments, strings and preprocessor lines."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CPP = (".h", ".cpp", ".cu", ".cuh")
NOT_OURS = ("build/", ".git/", ".cache/", "node_modules/")


def list_files(root, suffixes):
    """Paths relative to root: git's tracked and untracked (not ignored) files, or, without git, a walk."""
    listing = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True)
    if listing.returncode == 0 and os.path.exists(os.path.join(root, ".git")):
        paths = listing.stdout.decode().split("\0")
    else:
        paths = [os.path.relpath(os.path.join(folder, name), root)
                 for folder, _, names in os.walk(root) for name in names]
    return sorted(p for p in set(paths) if p.endswith(tuple(suffixes)) and not p.startswith(NOT_OURS)
                  and os.path.isfile(os.path.join(root, p)))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


_NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\\\s]{0,16})\(.*?\)(?P=d)"|"(?:[^"\\\n]|\\.)*"|(?<![0-9a-fA-F])\'(?:[^\'\\\n]|\\.)+\''
    r'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.S | re.M)


def strip_noise(text):
    """The same text with comments, literals and preprocessor lines blanked; line numbers stay."""
    def blank(match):
        kept = '""' if match.group(0)[0] in "\"R'" else ""
        return kept + "\n" * match.group(0).count("\n")
    return _NOISE.sub(blank, text)
