"""How figures are written down, and what they are measured on."""
import os
import platform
import statistics
import time

SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def spread(figures):
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f}–{max(figures):,.0f})"


def ratios(ours, theirs):
    pairs = sorted(a / b for a, b in zip(ours, theirs))
    return f"{statistics.median(pairs):.2f} ({pairs[0]:.2f}–{pairs[-1]:.2f})"


def machine():
    with open("/proc/cpuinfo") as f:
        cpu = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    return f"{os.cpu_count()} × {cpu}, Linux {platform.release()}, load average before {os.getloadavg()[0]:.1f}"


def sync_microseconds(folder, times=200):
    path = os.path.join(folder, "sync.probe")
    with open(path, "wb") as f:
        f.write(bytes(4096 * times))
        os.fsync(f.fileno())
        began = time.perf_counter()
        for i in range(times):
            os.pwrite(f.fileno(), b"x" * 4096, i * 4096)
            os.fdatasync(f.fileno())
        took = time.perf_counter() - began
    os.unlink(path)
    return took / times * 1e6


class Report:
    def __init__(self):
        self.lines = []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, *head):
        self.say()
        self.say("| " + " | ".join(head) + " |")
        self.say("|" + "---|" * len(head))

    def row(self, *cells):
        self.say("| " + " | ".join(str(cell) for cell in cells) + " |")

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.lines) + "\n")
