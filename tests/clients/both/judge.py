"""Holds the two answers to one question against each other and against `refused.md`.

The same answer is ok. Another one is ok when the list has the check, with these very answers; a line of the list that is
not met any more, or that nobody asked for, is a failure like an answer that nobody expected."""
import fnmatch
import hashlib
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
LIST = os.path.join(HERE, "refused.md")
CODES = {0: "success", 1: "operationsError", 2: "protocolError", 3: "timeLimitExceeded", 4: "sizeLimitExceeded", 5: "compareFalse",
         6: "compareTrue", 7: "authMethodNotSupported", 8: "strongerAuthRequired", 10: "referral", 11: "adminLimitExceeded",
         12: "unavailableCriticalExtension", 13: "confidentialityRequired", 16: "noSuchAttribute", 18: "inappropriateMatching",
         32: "noSuchObject", 34: "invalidDNSyntax", 49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy",
         52: "unavailable", 53: "unwillingToPerform", 76: "virtualListViewError", 118: "canceled", 119: "noSuchOperation",
         121: "cannotCancel", 122: "assertionFailed", 123: "authorizationDenied", 4096: "e-syncRefreshRequired"}


def said(answer):
    """An answer in one line: the result, the entries with a digest of them, what else came."""
    result = answer["result"]
    words = [CODES.get(result, str(result))]
    if "entries" in answer:
        entries = answer["entries"] if answer.get("ordered") else sorted(answer["entries"], key=lambda entry: entry[0])
        digest = hashlib.sha256(json.dumps(entries, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:8]
        words.append(f"{len(entries)} entries" + (f" {digest}" if entries else ""))
    for oid in sorted(answer.get("controls", [])):
        words.append(f"control {oid}")
    if "value" in answer:
        words.append(str(answer["value"]))
    return ", ".join(words)


def expected():
    """The list: check (a pattern) to what is said directly, what is said at the front door, and why."""
    rows = []
    with open(LIST, encoding="utf-8") as text:
        for line in text:
            cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split(" | ")]
            if line.startswith("| `") and len(cells) == 4:
                rows.append(tuple(cells))
    return rows


def like(answer, pattern):
    return any(fnmatch.fnmatchcase(answer, one.strip()) for one in pattern.split(" or "))


class Judge:
    def __init__(self):
        self.rows = expected()
        self.met = {}
        self.suites = set()
        self.bad = False
        self.same = self.different = 0

    def say(self, good, text, *more):
        print(("ok    " if good else "FAIL  ") + text, *(f"\n      {line}" for line in more), sep="", flush=True)
        self.bad |= not good

    def row(self, check):
        """The first line that fits."""
        return next((row for row in self.rows if fnmatch.fnmatchcase(check, row[0])), None)

    def hear(self, check, direct, through):
        """Both answers to one question, the direct one in the words of the front door already."""
        self.suites.add(check.split(":")[0])
        one, other, row = said(direct), said(through), self.row(check)
        if row is not None:
            self.met.setdefault(row, []).append(one == other)
        if row is None:
            self.same += one == other
            self.say(one == other, f"{check}: {other if one == other else 'differs'}", *self.difference(direct, through, one, other))
        elif one == other:
            # a pattern of several checks may hold where one of them happens to be the same; see finish()
            self.say(True, f"{check}: {other}")
        elif like(one, row[1]) and like(other, row[2]):
            self.different += 1
            self.say(True, f"{check}: as listed: {other} (direct: {one}): {row[3]}")
        else:
            self.say(False, f"{check}: differs, and not as listed", f"listed:  {row[1]}  ->  {row[2]}",
                     *self.difference(direct, through, one, other))

    @staticmethod
    def difference(direct, through, one, other):
        if one == other:
            return []
        lines = [f"direct:  {one}", f"through: {other}"]
        left, right = dict(direct.get("entries", [])), dict(through.get("entries", []))
        for dn in sorted(left.keys() | right.keys()):
            if left.get(dn) != right.get(dn):
                lines += [f"{dn}:", f"  direct:  {left.get(dn)}", f"  through: {right.get(dn)}"]
            if len(lines) > 8:
                break
        return lines

    def check(self, what, good, detail=""):
        """What can only be asked of the front door."""
        self.suites.add(what.split(":")[0])
        self.say(bool(good), what, *([] if good else [str(detail)[:600]]))

    def finish(self):
        """Exit status, after the lines of the list that did not come true."""
        for row in self.rows:
            if row[0].split(":")[0] not in self.suites:
                continue
            if row not in self.met:
                self.say(False, f"{row[0]}: listed in refused.md, and nothing asks for it")
            elif all(self.met[row]):
                self.say(False, f"{row[0]}: listed in refused.md, and answered alike now")
        print(f"{self.same} answered alike, {self.different} differ as listed in refused.md", flush=True)
        return int(self.bad)
