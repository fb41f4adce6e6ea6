"""docs/traps.md has a row for every trap that it claims, and what its rows name exists."""
import os
import re
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRAPS = [*range(15, 25), *range(33, 41)]


def rows(text):
    """{trap: [(path, name)]}"""
    found = {}
    for number, cells in re.findall(r"^\| T(\d+) (.*)\|$", text, re.M):
        found[int(number)] = re.findall(r"`([^`]+)` `([^`]+)`", cells.rsplit(" | ", 1)[1])
    return found


class Traps(unittest.TestCase):
    def test_every_row_names_tests_that_exist(self):
        with open(os.path.join(ROOT, "docs/traps.md")) as file:
            table = rows(file.read())
        self.assertEqual(sorted(table), TRAPS)
        for trap, shown in table.items():
            self.assertTrue(shown, f"T{trap} is shown by nothing")
            for path, name in shown:
                with open(os.path.join(ROOT, path)) as file:
                    text = file.read()
                for word in name.split():
                    self.assertIn(word, text, f"T{trap}: {path}")


if __name__ == "__main__":
    unittest.main()
