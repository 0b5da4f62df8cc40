"""The same questions asked of the directories themselves and of the front door, by one client after the other.

    run.py [SUITE ...]        all of them: ldapsearch ldap3 python-ldap net-ldap curl smbtorture

Exit 1 when an answer differs that `refused.md` does not list, or when its list is not true any more."""
import importlib
import sys
import time

from judge import Judge

SUITES = {"ldapsearch": "by_ldapsearch", "ldap3": "by_ldap3", "python-ldap": "by_python_ldap", "net-ldap": "by_net_ldap",
          "curl": "by_curl", "smbtorture": "by_smbtorture"}


def main(chosen):
    judge = Judge()
    for name in chosen or SUITES:
        began = time.monotonic()
        print(f"-- {name}", flush=True)
        try:
            importlib.import_module(SUITES[name]).run(judge)
        except Exception as error:  # a suite that breaks must not hide the others
            judge.say(False, f"{name}: {type(error).__name__}: {error}")
        print(f"   {time.monotonic() - began:.1f} s", flush=True)
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
