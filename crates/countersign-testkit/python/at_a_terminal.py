"""Runs a Python program at a terminal and answers what it asks: `at_a_terminal.py STEPS SCRIPT ARGUMENTS…`, where STEPS is a JSON list of
{"shown": text to wait for, "type": line} or {"shown": …, "down": entries of a menu to go down before it is chosen}. What the
screen showed goes to standard output; ends as the program does."""

import json
import sys

import pexpect

steps, program, arguments = json.loads(sys.argv[1]), sys.executable, sys.argv[2:]
child = pexpect.spawn(program, arguments, encoding="utf-8", timeout=60, dimensions=(50, 300))
child.delaybeforesend = None
child.logfile_read = sys.stdout
try:
    for step in steps:
        child.expect_exact(step["shown"])
        if "type" in step:
            child.send(step["type"] + "\r")
        else:
            # A menu is drawn anew for each key, and its last line is drawn before it takes the next: what is typed earlier is lost.
            for key in ["\x1b[B"] * step["down"] + ["\r"]:
                child.expect_exact("to confirm)")
                child.waitnoecho()
                child.send(key)
    child.expect(pexpect.EOF)
except (pexpect.TIMEOUT, pexpect.EOF) as error:
    sys.exit(f"\nwaited for {step['shown']!r} in vain: {type(error).__name__}")
child.close()
sys.exit(child.exitstatus if child.exitstatus is not None else 1)
