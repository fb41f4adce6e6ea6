"""write_or_check: what every maker of committed files does with its texts: write them, or with --check say which files differ."""
import os
import sys


def write_or_check(texts, maker):
    """texts: {path: content}. Returns the exit status."""
    wrong = []
    for path, text in texts.items():
        if "--check" not in sys.argv:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            continue
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                if file.read() == text:
                    continue
        wrong.append(os.path.basename(path))
    if wrong:
        print(f"not what {maker} makes, run it: {', '.join(wrong)}")
    return 1 if wrong else 0
